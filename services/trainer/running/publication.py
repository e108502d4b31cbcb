"""A finished run made public: files into the store, then one transaction that says so."""

import csv
import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from services.common.contracts.trainer import AdapterFile
from services.common.ids import new_id
from services.common.storage import ArtifactStore
from services.trainer import storage
from services.trainer.hyperparameters import recipe_of
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
    "valid_mean_token_accuracy",
    "train_rewards_accuracies",
    "train_rewards_margins",
    "valid_rewards_accuracies",
    "valid_rewards_margins",
    "learning_rate",
    "trained_tokens",
)


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter's files in the store."""

    step: int
    metrics: dict[str, float]
    url: str
    sha256: str
    files: list[AdapterFile]
    target_modules: list[str]


@dataclass(frozen=True)
class Published:
    """What lies in the store, and is not yet in the registry."""

    result: Result
    adapter: StoredAdapter
    candidates: list[StoredAdapter]
    metrics_file: File


def upload(store: ArtifactStore, folder: RunFolder, job: Job) -> Published:
    """Copy adapters, step metrics and TensorBoard's events in. Done again, it writes the same."""
    result = Result.model_validate_json(folder.result.read_bytes())
    upload_tensorboard(store, folder, job.id)
    return Published(
        result=result,
        adapter=_store(store, folder.adapter, job, result.step, result.metrics),
        candidates=[
            _store(store, folder.candidate(kept.step), job, kept.step, kept.metrics)
            for kept in result.candidates
        ],
        metrics_file=_write_metrics(store, folder, job),
    )


def upload_tensorboard(store: ArtifactStore, folder: RunFolder, job_id: str) -> None:
    for events in folder.tensorboard.glob("events.*"):
        store.put(f"jobs/{job_id}/tensorboard/{events.name}", events)


def _store(
    store: ArtifactStore, folder: Path, job: Job, step: int, metrics: dict[str, float]
) -> StoredAdapter:
    with (folder / WEIGHTS).open("rb") as weights:
        sha256 = hashlib.file_digest(weights, "sha256").hexdigest()
    place = f"adapters/{job.id}/{step}-{sha256[:12]}"
    stored = {name: store.put(f"{place}/{name}", folder / name) for name in ADAPTER_FILES}
    told = json.loads((folder / "adapter_config.json").read_text())
    return StoredAdapter(
        step=step,
        metrics=metrics,
        url=store.url_of(place),
        sha256=sha256,
        files=[
            AdapterFile(name=name, bytes=kept.bytes, sha256=kept.sha256)
            for name, kept in stored.items()
        ],
        target_modules=sorted(told["target_modules"]),
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
    """Give ``job``, locked and running, what it ends in: registry, result file and checkpoints."""
    result = published.result
    for kept in published.candidates:
        name = f"{job.adapter_name}:ckpt-step-{kept.step}"
        _add(session, job, kept, name, dataset_sha256, candidate=True)
    _add(session, job, published.adapter, job.adapter_name, dataset_sha256, candidate=False)
    storage.add_all(session, [published.metrics_file])
    job.step, job.trained_tokens = result.last_step, result.trained_tokens
    job.training_seconds, job.peak_memory_bytes = result.seconds, result.peak_memory_bytes
    job.fine_tuned_model, job.result_files = job.adapter_name, [published.metrics_file.id]
    for kept in published.candidates:
        storage.add_event(session, job, f"Checkpoint created at step {kept.step}.")
    storage.add_event(session, job, f"New fine-tuned model created: {job.adapter_name}")
    storage.add_event(session, job, "The job has successfully completed.")


def _add(
    session: Session,
    job: Job,
    stored: StoredAdapter,
    name: str,
    dataset_sha256: str,
    *,
    candidate: bool,
) -> None:
    hyperparameters, moment = job.hyperparameters, storage.now()
    adapter = Adapter(
        id=name,
        job_id=job.id,
        candidate=candidate,
        created_at=moment,
        base_model=job.model,
        recipe=recipe_of(hyperparameters),
        step=stored.step,
        sha256=stored.sha256,
        dataset_sha256=dataset_sha256,
        rank=hyperparameters.lora.r,
        target_modules=stored.target_modules,
        url=stored.url,
        files=[file.model_dump() for file in stored.files],
        metrics=stored.metrics,
    )
    checkpoint = Checkpoint(
        id=new_id("ftckpt"),
        job_id=job.id,
        created_at=moment,
        step=stored.step,
        fine_tuned_model=adapter.id,
        metrics=stored.metrics,
    )
    storage.add_all(session, [adapter, checkpoint])
