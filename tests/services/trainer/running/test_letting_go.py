"""How a worker lets go of a job that is not done; more of that is in ``tests/faults/trainer``."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import openai
import psutil
import pytest
from sqlalchemy import select

from services.trainer.models import Adapter, Job
from services.trainer.running.attempt import Workshop
from services.trainer.running.launch import TrainingProcess
from services.trainer.running.scheduling import work
from tests.services.trainer.conftest import BASE, fine_tune, pairs

pytestmark = pytest.mark.faults

STEPS = 60
Upload = Callable[..., str]


@pytest.fixture
def job_id(client: openai.OpenAI, upload: Upload) -> str:
    hyperparameters = {"n_epochs": 3, "batch_size": 1, "learning_rate": 0.001, "lora": {"r": 4}}
    return client.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload(pairs(STEPS // 3)),
        seed=1,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},  # type: ignore[typeddict-item]
    ).id


def row(shop: Workshop, job_id: str) -> Job:
    with shop.db.transaction() as session:
        return session.scalars(select(Job).where(Job.id == job_id)).one()


def told(client: openai.OpenAI, job_id: str) -> list[Any]:
    return list(client.fine_tuning.jobs.list_events(job_id, limit=1000))[::-1]


def messages(client: openai.OpenAI, job_id: str) -> list[str]:
    return [event.message for event in told(client, job_id)]


@contextmanager
def training(shop: Workshop, job_id: str) -> Iterator[None]:
    """A worker in a thread, which is in the midst of the job; gone on leaving."""
    worker = threading.Thread(target=work, args=[shop])
    worker.start()
    while row(shop, job_id).step < 3:
        assert worker.is_alive()
        time.sleep(0.1)
    yield
    worker.join()


def assert_done_once(client: openai.OpenAI, shop: Workshop, job_id: str) -> None:
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "succeeded", job.error
    steps = [event.data["step"] for event in told(client, job_id) if event.type == "metrics"]
    assert steps == list(range(1, STEPS + 1))
    with shop.db.transaction() as session:
        found = session.scalars(select(Adapter).where(Adapter.job_id == job_id)).all()
    assert sorted((adapter.step, adapter.candidate) for adapter in found) == [
        *((STEPS * epoch // 3, True) for epoch in (1, 2)),
        (STEPS, False),
    ]
    held = row(shop, job_id)
    assert (held.slot, held.lease_owner) == (None, None)


def test_a_job_resumed_before_it_was_saved_goes_on_from_there(
    client: openai.OpenAI, workshop: Workshop, job_id: str
) -> None:
    assert work(workshop)
    with training(workshop, job_id):
        client.fine_tuning.jobs.pause(job_id)
        client.fine_tuning.jobs.resume(job_id)
    fine_tune(workshop, job_id)
    assert_done_once(client, workshop, job_id)


def kill_training(job_id: str) -> None:
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "accelerate.commands.launch" not in command and any(job_id in word for word in command):
            os.kill(process.pid, signal.SIGKILL)


def test_a_training_killed_at_every_attempt_fails_in_the_end(
    client: openai.OpenAI, workshop: Workshop, job_id: str
) -> None:
    shop = replace(workshop, settings=workshop.settings.model_copy(update={"max_attempts": 1}))
    assert work(shop)
    with training(shop, job_id):
        kill_training(job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "training_killed")


def test_a_training_the_kernel_killed_for_memory_is_told_apart(
    client: openai.OpenAI, workshop: Workshop, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No memory is exhausted here: the kernel's count is set forward instead."""
    counts = iter([3, 4, 4, 4])
    monkeypatch.setattr("services.trainer.running.launch.oom_kills", lambda: next(counts))
    assert work(workshop)
    with training(workshop, job_id):
        kill_training(job_id)
    assert "ran out of memory" in " ".join(messages(client, job_id))


def test_a_pause_that_takes_too_long_goes_on_from_the_last_checkpoint(
    client: openai.OpenAI, workshop: Workshop, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TrainingProcess, "pause", lambda self: None)  # it never listens
    hurried = workshop.settings.model_copy(update={"pause_seconds": 0.1})
    assert work(workshop)
    with training(replace(workshop, settings=hurried), job_id):
        client.fine_tuning.jobs.pause(job_id)
    assert row(workshop, job_id).slot is None
    monkeypatch.undo()
    client.fine_tuning.jobs.resume(job_id)
    fine_tune(workshop, job_id)
    assert_done_once(client, workshop, job_id)


def test_a_cancelled_job_frees_its_slot_at_once_and_keeps_its_folder(
    client: openai.OpenAI, workshop: Workshop, job_id: str
) -> None:
    assert work(workshop)
    with training(workshop, job_id):
        client.fine_tuning.jobs.cancel(job_id)
    held = row(workshop, job_id)
    assert (held.status, held.slot, held.lease_owner) == ("cancelled", None, None)
    assert (workshop.settings.work_dir / job_id / "metrics.jsonl").exists()
