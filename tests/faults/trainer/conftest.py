"""A trainer of real parts that can be killed one by one, and what an undisturbed job looks like."""

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from sqlalchemy import create_engine, make_url, select, text
from starlette.testclient import TestClient

from services.common.db import Database
from services.trainer.models import Adapter, Job
from services.trainer.settings import TrainerSettings
from tests.servers import Server
from tests.services.trainer.conftest import (  # noqa: F401
    BASE,
    fine_tune,
    jsonl,
    pairs,
    tiny_model,
    url,
    workshop_of,
)
from tests.services.trainer.workers import wait_for, worker_process

STEPS = 40
ROWS = pairs(20)
METHOD: dict[str, Any] = {
    "type": "supervised",
    "supervised": {
        "hyperparameters": {
            "n_epochs": 4,
            "batch_size": 2,
            "learning_rate": 0.001,
            "lora": {"r": 4},
            "save_total_limit": 0,
        }
    },
}
LAUNCHER = "accelerate.commands.launch"
PASSING = ("A worker was lost", "Fine-tuning job resumed", "The training process was killed")
"""Beginnings of what may be told more than once, for it may happen more than once."""


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def settings(
    tiny_model: Path,  # noqa: F811
    database_url: str,
    redis: Server,
    storage_url: str,
    work_dir: Path,
) -> TrainerSettings:
    return TrainerSettings(
        mode="local",
        database_url=database_url,
        redis_url=redis.url,
        storage_url=storage_url,
        base_models={BASE: str(tiny_model)},
        work_dir=work_dir,
        lease_seconds=4,
        sweep_seconds=0.5,
    )


@pytest.fixture(scope="session")
def undisturbed(
    tiny_model: Path,  # noqa: F811
    postgres_url: str,
    redis_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> list[float]:
    """The training loss after each step of a job that nothing happens to."""
    from services.trainer.main import create_app

    folder = tmp_path_factory.mktemp("undisturbed")
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("create database undisturbed"))
    admin.dispose()
    settings = TrainerSettings(
        mode="local",
        database_url=make_url(postgres_url)
        .set(database="undisturbed")
        .render_as_string(hide_password=False),
        redis_url=redis_url,
        storage_url=(folder / "artifacts").as_uri(),
        base_models={BASE: str(tiny_model)},
        work_dir=folder / "work",
    )
    with TestClient(create_app(settings), base_url="http://localhost") as http:
        form = {"purpose": "fine-tune"}
        file = http.post("/v1/files", data=form, files={"file": ("t.jsonl", jsonl(ROWS))}).json()
        ask = {"model": BASE, "training_file": file["id"], "seed": 1, "method": METHOD}
        job_id = http.post("/v1/fine_tuning/jobs", json=ask).json()["id"]
        db = Database(settings.database_url)
        fine_tune(workshop_of(settings, db), job_id)
        db.close()
        events = http.get(f"/v1/fine_tuning/jobs/{job_id}/events?limit=1000&order=asc").json()
    losses = [event["data"]["train_loss"] for event in events["data"] if event["type"] == "metrics"]
    assert len(losses) == STEPS
    return losses


@dataclass
class Trainer:
    """Its API, its workers as they are started, and what became of its jobs."""

    settings: TrainerSettings
    client: openai.OpenAI
    undisturbed: list[float]
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, name: str = "worker") -> subprocess.Popen[bytes]:
        self.workers.append(worker_process(self.settings, name))
        return self.workers[-1]

    def create_job(self) -> str:
        file = self.client.files.create(file=("t.jsonl", jsonl(ROWS)), purpose="fine-tune")
        job = self.client.fine_tuning.jobs.create(
            model=BASE,
            training_file=file.id,
            seed=1,
            method=METHOD,  # type: ignore[arg-type]
        )
        return job.id

    def status(self, job_id: str) -> str:
        return self.client.fine_tuning.jobs.retrieve(job_id).status

    def events(self, job_id: str) -> list[Any]:
        return list(self.client.fine_tuning.jobs.list_events(job_id, limit=1000))[::-1]

    def messages(self, job_id: str) -> list[str]:
        return [event.message for event in self.events(job_id)]

    def wait_for_message(self, job_id: str, beginning: str) -> None:
        wait_for(lambda: any(told.startswith(beginning) for told in self.messages(job_id)))

    def wait_for_checkpoint(self, job_id: str) -> None:
        """Until the job is past its first checkpoint, and far from its end."""
        folder = self.settings.work_dir / job_id / "checkpoints"
        wait_for(lambda: list(folder.glob("*/complete")))
        assert self.status(job_id) == "running"

    def row(self, job_id: str) -> Job:
        engine = create_engine(self.settings.database_url)
        with engine.connect() as connection:
            row = connection.execute(select(Job.__table__).where(Job.id == job_id)).one()
        engine.dispose()
        return row  # type: ignore[return-value]

    def assert_as_undisturbed(self, job_id: str) -> None:
        """Succeeded once: every step recorded once, with the losses of a job left in peace."""
        wait_for(lambda: self.status(job_id) in ("succeeded", "failed", "cancelled"))
        job = self.client.fine_tuning.jobs.retrieve(job_id)
        assert job.status == "succeeded", job.error
        events = self.events(job_id)
        recorded = [event.data for event in events if event.type == "metrics"]
        assert [each["step"] for each in recorded] == list(range(1, STEPS + 1))
        assert [each["train_loss"] for each in recorded] == self.undisturbed
        told = Counter(event.message for event in events)
        assert not [m for m, n in told.items() if n > 1 and not m.startswith(PASSING)]
        engine = create_engine(self.settings.database_url)
        with engine.connect() as connection:
            found = connection.execute(select(Adapter.id).where(Adapter.job_id == job_id)).all()
        engine.dispose()
        assert [row.id for row in found] == [job.fine_tuned_model]
        assert not processes_of(job_id)


@pytest.fixture
def trainer(
    settings: TrainerSettings,
    url: str,  # noqa: F811
    undisturbed: list[float],
) -> Iterator[Trainer]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=8) as client:
        trainer = Trainer(settings, client, undisturbed)
        yield trainer
        family = [
            child
            for worker in trainer.workers
            if worker.poll() is None
            for child in psutil.Process(worker.pid).children(recursive=True)
        ]
        for worker in trainer.workers:
            worker.kill()
            worker.wait()
        _, left = psutil.wait_procs(family, timeout=20)
        assert not left


def processes_of(job_id: str) -> list[psutil.Process]:
    """The launcher and what it started."""
    return [
        process
        for process in psutil.process_iter(["cmdline", "status"])
        if process.info["status"] != psutil.STATUS_ZOMBIE
        and any(job_id in word for word in process.info["cmdline"] or ())
    ]


def training_of(job_id: str) -> psutil.Process:
    """The one that trains."""
    [training] = [each for each in processes_of(job_id) if LAUNCHER not in each.cmdline()]
    return training


def pool_process_of(job_id: str) -> psutil.Process:
    """The one of the worker's pool that has the job in hand."""
    [launcher] = [each for each in processes_of(job_id) if LAUNCHER in each.cmdline()]
    parent = launcher.parent()
    assert parent is not None
    return parent


def kill(process: psutil.Process) -> None:
    process.send_signal(signal.SIGKILL)
