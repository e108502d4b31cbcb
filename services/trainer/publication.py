"""A finished run made public: files into the store, then one transaction that says so."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from services.common.contracts.trainer import AdapterFile, SupervisedHyperparameters
from services.common.ids import new_id
from services.common.storage import ArtifactStore
from services.trainer import storage
from services.trainer.models import Adapter, Checkpoint, File, Job
from services.trainer.training.config import ADAPTER_FILES, Result, RunFolder
from services.trainer.training.progress import Lines, StepMetrics

WEIGHTS = "adapter_model.safetensors"
COLUMNS = (
    "step",
    "epoch",
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "learning_rate",
    "trained_tokens",
)


@dataclass(frozen=True)
class Published:
    """What lies in the store, and is not yet in the registry."""

    result: Result
    url: str
    sha256: str
    files: list[AdapterFile]
    target_modules: list[str]
    metrics_file: File


def upload(store: ArtifactStore, folder: RunFolder, job: Job) -> Published:
    """Copy the adapter and the step metrics in. Done again, it writes the same content."""
    result = Result.model_validate_json(folder.result.read_bytes())
    with (folder.adapter / WEIGHTS).open("rb") as weights:
        sha256 = hashlib.file_digest(weights, "sha256").hexdigest()
    place = f"adapters/{job.id}/{result.step}-{sha256[:12]}"
    stored = {name: store.put(f"{place}/{name}", folder.adapter / name) for name in ADAPTER_FILES}
    told = json.loads((folder.adapter / "adapter_config.json").read_text())
    return Published(
        result=result,
        url=store.url_of(place),
        sha256=sha256,
        files=[
            AdapterFile(name=name, bytes=kept.bytes, sha256=kept.sha256)
            for name, kept in stored.items()
        ],
        target_modules=sorted(told["target_modules"]),
        metrics_file=_write_metrics(store, folder, job),
    )


def _write_metrics(store: ArtifactStore, folder: RunFolder, job: Job) -> File:
    """The CSV of a job's steps. A step that was done again after a kill counts as it came last."""
    steps: dict[int, dict[str, Any]] = {}
    for line in Lines(folder.metrics).read():
        if isinstance(line, StepMetrics):
            steps.setdefault(line.step, {}).update(line.model_dump(exclude_none=True))
    text = io.StringIO(newline="")
    rows = csv.DictWriter(text, COLUMNS, extrasaction="ignore")
    rows.writeheader()
    rows.writerows(steps[step] for step in sorted(steps))
    row = File(
        id=new_id("file"),
        created_at=storage.now(),
        filename=f"{job.id}-step-metrics.csv",
        purpose="fine-tune-results",
    )
    stored = store.write_bytes(row.key, text.getvalue().encode())
    row.size, row.sha256 = stored.bytes, stored.sha256
    return row


def register(session: Session, job: Job, published: Published, *, dataset_sha256: str) -> None:
    """Let ``job``, locked and running, succeed: registry, result file and status at once."""
    hyperparameters = SupervisedHyperparameters.model_validate(
        job.method["supervised"]["hyperparameters"]
    )
    result, moment = published.result, storage.now()
    adapter = Adapter(
        id=job.adapter_name,
        job_id=job.id,
        created_at=moment,
        base_model=job.model,
        recipe=hyperparameters.recipe,
        step=result.step,
        sha256=published.sha256,
        dataset_sha256=dataset_sha256,
        rank=hyperparameters.lora.r,
        target_modules=published.target_modules,
        url=published.url,
        files=[file.model_dump() for file in published.files],
        metrics=result.metrics,
    )
    checkpoint = Checkpoint(
        id=new_id("ftckpt"),
        job_id=job.id,
        created_at=moment,
        step=result.step,
        fine_tuned_model=adapter.id,
        metrics=result.metrics,
    )
    storage.add_all(session, [adapter, checkpoint, published.metrics_file])
    job.status, job.finished_at, job.estimated_finish = "succeeded", moment, None
    job.step, job.trained_tokens = result.step, result.trained_tokens
    job.fine_tuned_model, job.result_files = adapter.id, [published.metrics_file.id]
    storage.add_event(session, job, f"New fine-tuned model created: {adapter.id}")
    storage.add_event(session, job, "The job has successfully completed.")
