"""Real workers of the trainer, started as processes of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services.trainer.settings import TrainerSettings

Worker = Callable[[], subprocess.Popen[bytes]]


def worker_process(settings: TrainerSettings, name: str = "worker") -> subprocess.Popen[bytes]:
    """A worker told what ``settings`` were told, by its environment; secrets it has from ours."""
    told = settings.model_dump(mode="json", exclude_unset=True, exclude={"webhooks"})
    environment = os.environ | {
        f"FINEPROOF_TRAINER_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
        for key, value in told.items()
    }
    argv = [sys.executable, "-m", "celery", "-A", "services.trainer.worker", "worker"]
    return subprocess.Popen([*argv, "-n", f"{name}@%h"], env=environment)


@pytest.fixture
def start_worker(settings: TrainerSettings) -> Iterator[Worker]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        started.append(worker_process(settings))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], Any], seconds: float = 300) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
    return result
