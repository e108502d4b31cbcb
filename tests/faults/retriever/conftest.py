"""The retriever of the service's own tests, and one in a process of its own."""

import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from fineproof.local.child import tied
from tests.conftest import free_port
from tests.faults.retriever.workers import environment
from tests.services.retriever.conftest import (  # noqa: F401
    library,
    retriever,
    retriever_settings,
    settings_of,
)
from tests.services.trainer.workers import wait_for

CALLERS = 10_000
PLACES, WAITING = 8, 64


@dataclass
class Alone:
    """A retriever as the stack starts it, so that what it holds can be counted."""

    port: int
    process: psutil.Process
    database_url: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def memory(self) -> int:
        """Resident, in bytes."""
        return int(self.process.memory_info().rss)


@pytest.fixture
def alone(
    database_url: str,
    redis_url: str,
    tmp_path: Path,
) -> Iterator[Alone]:
    """With ``PLACES`` for searches and ``WAITING`` to wait in, however long."""
    files = CALLERS + 1_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        pytest.skip(f"a process may not have {files} files open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, files), hard))
    port = free_port()
    settings = settings_of(database_url, redis_url).model_copy(
        update={
            "max_concurrent_searches": PLACES,
            "max_waiting_searches": WAITING,
            "max_wait_seconds": 500.0,
            "max_search_seconds": 500.0,
        }
    )
    argv = [sys.executable, "-m", "uvicorn", "services.retriever.main:app", "--no-access-log"]
    with (tmp_path / "retriever.log").open("wb") as log:
        process = subprocess.Popen(
            tied([*argv, "--port", str(port)], death_signal=signal.SIGKILL),
            env=environment(settings),
            stdout=log,
            stderr=log,
        )
    alone = Alone(port, psutil.Process(process.pid), database_url)

    def ready() -> bool:
        assert process.poll() is None, (tmp_path / "retriever.log").read_text()[-4000:]
        try:
            return httpx.get(f"{alone.url}/readyz", timeout=60).is_success
        except httpx.TransportError:
            return False

    wait_for(ready)
    yield alone
    process.kill()
    process.wait()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
