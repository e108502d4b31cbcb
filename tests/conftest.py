"""Real PostgreSQL and Redis for every test that asks for them, one server a run."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from sqlalchemy import create_engine, make_url, text

from services.common.ids import new_id

if TYPE_CHECKING:
    from fineproof.models.catalog import Model
    from tests.vllm import VllmServer

# Hypothesis fails an example that takes 0.2 s, which on a busy machine any does now and then.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    from fineproof.local.postgres import running_postgres

    # Not in pytest's folder: whoever begins the next run closes that to all others, and a server
    # of root's runs as another user.
    with TemporaryDirectory(prefix="fineproof-") as folder, running_postgres(Path(folder)) as url:
        yield url


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """An empty database of its own for one test."""
    name = new_id("test")
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'create database "{name}"'))
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f'drop database "{name}" with (force)'))
    admin.dispose()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from fineproof.local.redis import running_redis

    with running_redis(tmp_path_factory.mktemp("redis"), free_port()) as url:
        yield url


@pytest.fixture
def storage_url(tmp_path: Path) -> str:
    return (tmp_path / "artifacts").as_uri()


@pytest.fixture(scope="session")
def base_model(small_model: "Model") -> Path:
    """A folder with SmolLM2-135M-Instruct."""
    return small_model.folder


@pytest.fixture(scope="session")
def small_model() -> "Model":
    from fineproof.models.catalog import resolve
    from fineproof.models.pull import pull
    from fineproof.settings import Settings

    model = resolve("smollm2-135m-instruct", Settings.from_environment().home)
    pull(model, lambda *_: None)
    return model


@pytest.fixture(scope="session")
def vllm_server(
    small_model: "Model", tmp_path_factory: pytest.TempPathFactory
) -> "Iterator[VllmServer]":
    """One for the whole run: it takes a minute to start. Leave it running."""
    from tests.vllm import VllmServer

    server = VllmServer(small_model, free_port(), tmp_path_factory.mktemp("vllm") / "log")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def adapter_folder(small_model: "Model", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real adapter with PEFT's account of it. Made once; spoil a copy."""
    from tests.services.generator.adapters.spoiling import make_adapter

    folder = tmp_path_factory.mktemp("adapter")
    make_adapter(small_model.folder, folder)
    return folder


def free_port(following: int = 0) -> int:
    """A port of this host that nobody listens on, with as many ``following`` ones.

    From below those a system gives to outgoing connections (from 32,768 in Linux): one of those is
    soon taken again, even by whoever asks there whether a server has come up, and meets itself.
    """
    while True:
        first = secrets.choice(range(10_000, 32_000 - following))
        with ExitStack() as stack, suppress(OSError):
            for port in range(first, first + following + 1):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first
