"""Servers that a test can take away and bring back."""

from collections.abc import Iterator
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
