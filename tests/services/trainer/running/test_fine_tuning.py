"""Jobs done by the task's own function, with a real training process on the tiny model."""

import csv
import io
import json
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openai
import psutil
from safetensors.numpy import load
from sqlalchemy import select, update
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from services.common.contracts.trainer import Canary
from services.common.leases import claim
from services.common.storage import ArtifactStore, Stored
from services.trainer.models import Adapter, Job
from services.trainer.running.attempt import Workshop
from services.trainer.storage import UNFINISHED
from tests.services.trainer.conftest import BASE, fine_tune, messages, pairs

Upload = Callable[..., str]

# A learning rate that two random layers notice.
QUICK = {"learning_rate": 0.01, "lora": {"r": 4}}


def create(client: openai.OpenAI, file_id: str, suffix: str = "mine", **more: Any) -> str:
    method = {"type": "supervised", "supervised": {"hyperparameters": QUICK | more}}
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file_id,
        suffix=suffix,
        seed=1,
        method=method,  # type: ignore[arg-type]
    )
    return job.id


def adapters_of(workshop: Workshop, job_id: str) -> list[Adapter]:
    with workshop.db.transaction() as session:
        return list(session.scalars(select(Adapter).where(Adapter.job_id == job_id)))


def training_processes(job_id: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(job_id in word for word in process.info["cmdline"] or ())
    ]


def lapse(workshop: Workshop, job_id: str) -> None:
    """Let the lease of a worker that died run out."""
    with workshop.db.transaction() as session:
        session.execute(
            update(Job)
            .where(Job.id == job_id)
            .values(lease_expires_at=datetime.now(UTC) - timedelta(seconds=1))
        )


class DisappearingStore(ArtifactStore):
    """A store that goes away before the adapter is in."""

    def put(self, key: str, local: Path) -> Stored:
        if key.startswith("adapters/"):
            raise OSError("the store is away")
        return super().put(key, local)


def test_a_job_ends_in_an_adapter_that_learnt(
    client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    rows = [*pairs(20), {"question": "too " * 2000, "answer": "long"}]
    job_id = create(client, upload(rows))
    fine_tune(workshop, job_id)

    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model == f"ft:{BASE}:mine:{job_id}"
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (2, 8)
    assert job.trained_tokens
    assert job.finished_at
    assert job.model_extra
    assert job.model_extra["progress"] == {"step": 6, "total_steps": 6, "seconds_left": None}
    told = messages(client, job_id)
    assert told[0] == f"Created fine-tuning job: {job_id}"
    assert (
        "1 of 21 examples are longer than max_length, 1024 tokens, and are left out (lines 21)."
        in told
    )
    assert told[-1] == "The job has successfully completed."

    events = client.fine_tuning.jobs.list_events(job_id, limit=100)
    metrics = [event.data for event in events if event.type == "metrics"][::-1]
    assert [step["step"] for step in metrics] == [1, 2, 3, 4, 5, 6]  # type: ignore[index]
    assert metrics[-1]["train_loss"] < metrics[0]["train_loss"]  # type: ignore[index]
    results = client.files.content(job.result_files[0]).text
    steps = list(csv.DictReader(io.StringIO(results)))
    assert float(steps[-1]["train_loss"]) == metrics[-1]["train_loss"]  # type: ignore[index]

    adapter, candidate = sorted(adapters_of(workshop, job_id), key=lambda row: row.candidate)
    place = adapter.url.removeprefix(workshop.store.url).lstrip("/")
    assert place == f"adapters/{job_id}/6-{adapter.sha256[:12]}"
    weights = load(workshop.store.read_bytes(f"{place}/adapter_model.safetensors"))
    learnt = [tensor for name, tensor in weights.items() if "lora_B" in name]
    assert len(learnt) == 2 * 7
    assert all(tensor.any() for tensor in learnt)
    config = json.loads(workshop.store.read_bytes(f"{place}/adapter_config.json"))
    assert config["base_model_name_or_path"] == BASE
    canary = Canary.model_validate_json(workshop.store.read_bytes(f"{place}/canary.json"))
    for sequence in canary.sequences:
        assert len(sequence.base) == len(sequence.adapted) == len(sequence.token_ids) - 1
        assert max(abs(a - b) for a, b in zip(sequence.base, sequence.adapted, strict=True)) > 0.01

    assert (candidate.id, candidate.step) == (f"{adapter.id}:ckpt-step-3", 3)
    assert candidate.sha256 != adapter.sha256
    card = workshop.store.read_bytes(f"{place}/README.md").decode()
    assert adapter.sha256 in card
    assert str(workshop.settings.work_dir) not in card
    assert "/" not in card.split("base_model: ")[1].split("\n")[0]
    last, first = client.fine_tuning.jobs.checkpoints.list(job_id).data
    assert (last.fine_tuned_model_checkpoint, last.step_number) == (adapter.id, 6)
    assert (first.fine_tuned_model_checkpoint, first.step_number) == (candidate.id, 3)
    assert first.metrics.train_loss == metrics[2]["train_loss"]  # type: ignore[index]
    with workshop.db.transaction() as session:
        row = session.get_one(Job, job_id)
        assert row.training_seconds
        assert row.peak_memory_bytes

    fine_tune(workshop, job_id)  # the message arrives again
    assert messages(client, job_id) == told
    assert len(adapters_of(workshop, job_id)) == 2


def test_a_job_with_a_validation_file_reports_its_loss(
    client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    supervised = {"hyperparameters": QUICK | {"n_epochs": 1}}
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload(pairs(10)),
        validation_file=upload(pairs(12)),
        method={"type": "supervised", "supervised": supervised},  # type: ignore[typeddict-item]
    )
    fine_tune(workshop, job.id)
    [adapter] = adapters_of(workshop, job.id)
    assert adapter.id == f"ft:{BASE}:qa:{job.id}"
    assert adapter.metrics["valid_loss"] > 0
    assert any("validation loss" in message for message in messages(client, job.id))


def test_a_file_with_wrong_lines_fails_the_job_and_names_them(
    client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    job_id = create(client, upload([*pairs(10), {"question": "Q"}, *pairs(2), {"messages": []}]))
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert (job.error.code, job.error.param) == ("invalid_training_file", "training_file")
    assert job.error.message == (
        "2 of 14 examples cannot be used: line 11 has no 'answer'; line 14 has 'messages' that "
        "are not a list of messages."
    )
    assert messages(client, job_id)[-1] == job.error.message


def test_a_job_whose_examples_are_all_too_long_fails(
    client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    job_id = create(client, upload(pairs(10)), max_length=16)
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.error is not None
    assert job.error.code == "invalid_training_file"
    assert "longer than max_length, 16 tokens" in job.error.message


def test_a_training_process_that_fails_is_explained_without_paths(
    client: openai.OpenAI, upload: Upload, workshop: Workshop, tiny_model: Path, tmp_path: Path
) -> None:
    broken = shutil.copytree(tiny_model, tmp_path / "broken" / "model")
    (broken / "config.json").write_text("{}")
    settings = workshop.settings.model_copy(update={"base_models": {BASE: str(broken)}})
    job_id = create(client, upload(pairs(10)))
    fine_tune(replace(workshop, settings=settings), job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.error is not None
    assert job.error.code == "training_failed"
    assert str(tmp_path) not in job.error.message
    assert "Error: " in job.error.message


def test_cancelling_ends_the_training_process(
    client: openai.OpenAI, upload: Upload, workshop: Workshop, tmp_path: Path
) -> None:
    job_id = create(client, upload(pairs(400)), n_epochs=50, batch_size=1)
    seen: list[psutil.Process] = []

    def cancel_once_it_runs() -> None:
        while not (client.fine_tuning.jobs.retrieve(job_id).model_extra or {})["progress"]["step"]:
            time.sleep(0.2)
        seen.extend(training_processes(job_id))
        client.fine_tuning.jobs.cancel(job_id)

    canceller = threading.Thread(target=cancel_once_it_runs)
    canceller.start()
    fine_tune(workshop, job_id)
    canceller.join()
    assert len(seen) >= 2  # the launcher and the training
    assert not training_processes(job_id)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "cancelled"
    assert messages(client, job_id)[-1] == "The job was cancelled."
    assert not adapters_of(workshop, job_id)
    [events] = (tmp_path / "artifacts" / "jobs" / job_id / "tensorboard").iterdir()
    assert EventAccumulator(str(events)).Reload().Scalars("train/loss")


def test_a_job_in_another_worker_s_hands_is_left_alone(
    client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    job_id = create(client, upload(pairs(10)))
    with workshop.db.transaction() as session:
        assert claim(session, Job, job_id, owner="another", statuses=UNFINISHED)
    fine_tune(workshop, job_id)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "validating_files"


def test_a_job_that_was_trained_but_not_registered_is_only_registered(
    client: openai.OpenAI, upload: Upload, workshop: Workshop, tmp_path: Path
) -> None:
    """As when the worker dies between the last step and the commit."""
    job_id = create(client, upload(pairs(10)), n_epochs=1)
    without_store = replace(workshop, store=DisappearingStore(workshop.store.url))
    fine_tune(without_store, job_id)
    told = "The adapter is trained, and the artifact store did not take it."
    assert told in messages(client, job_id)[-1]
    output = workshop.settings.work_dir / job_id / "output.log"
    trained = output.stat().st_mtime_ns
    lapse(workshop, job_id)
    fine_tune(workshop, job_id)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "succeeded"
    assert output.stat().st_mtime_ns == trained


def test_a_job_taken_up_too_often_fails(
    client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    job_id = create(client, upload(pairs(10)))
    for _ in range(workshop.settings.max_attempts):
        with workshop.db.transaction() as session:
            assert claim(session, Job, job_id, owner="dead", statuses=UNFINISHED)
        lapse(workshop, job_id)
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.error is not None
    assert job.error.code == "too_many_attempts"
