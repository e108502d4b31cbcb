"""Servers that a test can take away and bring back."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fineproof.local.postgres import running_postgres
from fineproof.local.redis import running_redis
from tests.conftest import free_port
from tests.servers import Server


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture
def postgres(tmp_path: Path) -> Iterator[Server]:
    server = Server(lambda: running_postgres(tmp_path / "pg"))
    yield server
    server.stop()


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Server]:
    port = free_port()
    server = Server(lambda: running_redis(tmp_path / "redis", port))
    yield server
    server.stop()


@contextmanager
def small_disk(folder: Path, *, mebibytes: int) -> Iterator[Path]:
    """``folder`` as a disk of its own, in memory, while the context lasts."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small disk to fill")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path, *, leaving: int = 0) -> Path:
    """Leave about that many bytes of the disk; gives the file to remove."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        free = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - leaving)
    return ballast
