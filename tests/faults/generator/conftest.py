"""The generator of the service's own tests, and one in a process of its own."""

import json
import os
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
from tests.services.generator.adapters.test_keeper import eventually
from tests.services.generator.conftest import (  # noqa: F401
    BASE,
    adapter,
    generator,
    real_generator,
    registry,
    start_generator,
    upstream,
)
from tests.services.generator.upstream import Upstream


@dataclass
class Alone:
    """A generator as the stack starts it, so that what it holds can be counted."""

    url: str
    process: psutil.Process

    @property
    def memory(self) -> int:
        """Resident, in bytes."""
        return int(self.process.memory_info().rss)

    @property
    def connections(self) -> int:
        """TCP connections that are open, to callers and to vLLM."""
        return sum(each.status == "ESTABLISHED" for each in self.process.net_connections("tcp"))


@pytest.fixture
def alone(
    upstream: Upstream,  # noqa: F811
    database_url: str,
    storage_url: str,
    tmp_path: Path,
) -> Iterator[Alone]:
    """Before the misbehaving vLLM, with places for 500 answers and none to wait in."""
    port = free_port()
    settings = {
        "MODE": "local",
        "DATABASE_URL": database_url,
        "STORAGE_URL": storage_url,
        "VLLM_URLS": json.dumps([upstream.url]),
        "BASE_MODEL": BASE,
        "BASE_MODEL_PATH": "none",
        "ADAPTER_CACHE": str(tmp_path / "cache"),
        "MAX_CONCURRENT_REQUESTS": "500",
        "MAX_WAITING_REQUESTS": "0",
    }
    argv = [sys.executable, "-m", "uvicorn", "services.generator.main:app", "--no-access-log"]
    with (tmp_path / "generator.log").open("wb") as log:
        process = subprocess.Popen(
            tied([*argv, "--port", str(port)], death_signal=signal.SIGKILL),
            env=os.environ | {f"FINEPROOF_GENERATOR_{key}": said for key, said in settings.items()},
            stdout=log,
            stderr=log,
        )
    url = f"http://127.0.0.1:{port}"

    def ready() -> bool:
        assert process.poll() is None, (tmp_path / "generator.log").read_text()[-4000:]
        try:
            return httpx.get(f"{url}/readyz").is_success
        except httpx.TransportError:
            return False

    eventually(ready, seconds=120)
    yield Alone(url, psutil.Process(process.pid))
    process.kill()
    process.wait()
