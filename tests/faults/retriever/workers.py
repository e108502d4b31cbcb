"""A retriever's worker that can be killed: Celery on Redis, in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.retriever.settings import RetrieverSettings
from tests.services.retriever.conftest import Retriever

Worker = subprocess.Popen[bytes]


def environment(settings: RetrieverSettings) -> dict[str, str]:
    """What ``settings`` were told, for a process of the retriever's."""
    told = settings.model_dump(mode="json", exclude_unset=True) | {"torch_threads": 1}
    return os.environ | {
        f"FINEPROOF_RETRIEVER_{key.upper()}": value if isinstance(value, str) else json.dumps(value)
        for key, value in told.items()
    }


@contextmanager
def worker(settings: RetrieverSettings, folder: Path) -> Iterator[Worker]:
    celery = [sys.executable, "-m", "celery", "-A", "services.retriever.worker", "worker"]
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [*celery, "--concurrency", "1"],
            env=environment(settings),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        kill(process)


def kill(process: Worker) -> None:
    """``kill -9`` for the worker and the child it works in, at once."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def ingestion_when(
    retriever: Retriever,
    sent: dict[str, Any],
    reached: Callable[[dict[str, Any]], bool],
    *,
    patience: float = 240,
) -> dict[str, Any]:
    url = f"/v1/vector_stores/{sent['vector_store_id']}/ingestions/{sent['id']}"
    deadline = time.monotonic() + patience
    while not reached(current := retriever.http.get(url).json()):
        assert time.monotonic() < deadline, current
        time.sleep(0.02)
    return dict(current)
