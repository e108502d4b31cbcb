"""A real Celery worker on real Redis, killed in the middle of a job."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import openai
import psutil
import pytest
from sqlalchemy import select

from services.trainer.fine_tuning import Workshop
from services.trainer.models import Adapter, Job
from services.trainer.settings import TrainerSettings
from tests.services.trainer.conftest import BASE, pairs

pytestmark = pytest.mark.faults

Worker = Callable[[], subprocess.Popen[bytes]]


def environment(settings: TrainerSettings) -> dict[str, str]:
    told = settings.model_dump(
        mode="json",
        include={"mode", "database_url", "redis_url", "storage_url", "base_models", "work_dir"},
    )
    return os.environ | {
        f"FINEPROOF_TRAINER_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in told.items()
    }


@pytest.fixture
def start_worker(settings: TrainerSettings) -> Iterator[Worker]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-m", "celery", "-A", "services.trainer.worker", "worker", "-c1"]
        started.append(subprocess.Popen(argv, env=environment(settings)))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], Any], seconds: float = 400) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)
    return result


def test_a_job_outlives_its_worker_and_succeeds_once(
    client: openai.OpenAI,
    upload: Callable[..., str],
    workshop: Workshop,
    settings: TrainerSettings,
    start_worker: Worker,
) -> None:
    hyperparameters = {"n_epochs": 30, "batch_size": 8, "learning_rate": 0.001}
    worker = start_worker()
    job_id = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload(pairs(60)),
        seed=1,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},  # type: ignore[typeddict-item]
    ).id
    steps = 8 * 30
    checkpoints = settings.work_dir / job_id / "checkpoints"

    wait_for(lambda: list(checkpoints.glob("*/complete")))
    family = psutil.Process(worker.pid).children(recursive=True)
    assert any("services.trainer.training.sft" in process.cmdline() for process in family)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    psutil.wait_procs(family, timeout=20)
    assert not [process for process in family if process.is_running()]
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "running"
    assert 0 < job.model_extra["progress"]["step"] < steps  # type: ignore[index]
    resumed_from = max(int(p.parent.name.split("-")[1]) for p in checkpoints.glob("*/complete"))

    start_worker()
    done = ("succeeded", "failed")
    job = wait_for(lambda: (j := client.fine_tuning.jobs.retrieve(job_id)).status in done and j)
    assert job.status == "succeeded", job.error
    with workshop.db.transaction() as session:
        assert len(session.scalars(select(Adapter).where(Adapter.job_id == job_id)).all()) == 1
        assert session.scalars(select(Job.attempts).where(Job.id == job_id)).one() == 2
    events = list(client.fine_tuning.jobs.list_events(job_id, limit=1000))[::-1]
    recorded = [event.data["step"] for event in events if event.type == "metrics"]  # type: ignore[index]
    assert recorded == list(range(1, steps + 1))
    assert sum(event.message.startswith("New fine-tuned model") for event in events) == 1
    assert "A worker was lost; the job goes on." in [event.message for event in events]
    # It did go on, and did not begin again: the steps before its checkpoint were done once.
    lines = (settings.work_dir / job_id / "metrics.jsonl").read_text().splitlines()
    trained = [json.loads(line)["step"] for line in lines if '"metrics"' in line]
    assert trained.count(resumed_from) == 1
    assert trained.count(1) == 1
