"""The generator as a real server, before a real vLLM or before one that misbehaves on purpose."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from fineproof.local import vllm
from fineproof.local.child import tied
from fineproof.models.catalog import Model, resolve
from fineproof.models.pull import pull
from fineproof.settings import Settings
from services.generator.main import create_app
from services.generator.settings import GeneratorSettings
from tests.conftest import free_port
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_base
from tests.services.generator.upstream import Upstream

BASE = "smollm2-135m-instruct"


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """``app`` under uvicorn, in a thread with a loop of its own; yields its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the application did not start; its log says why")
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@dataclass
class VllmServer:
    """A vLLM process that can be killed and started again at the same address."""

    model: Model
    port: int
    log: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tied(vllm.command(self.model, self.port), death_signal=signal.SIGTERM),
                env=os.environ | vllm.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while True:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            try:
                if httpx.get(f"{self.url}/health", timeout=2).is_success:
                    return
            except httpx.TransportError:
                time.sleep(0.5)

    def kill(self) -> None:
        """With everything it started: the engine is a process of its own."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="session")
def small_model() -> Model:
    model = resolve(BASE, Settings.from_environment().home)
    if not model.is_complete:
        pull(model, lambda *_: None)
    return model


@pytest.fixture(scope="session")
def vllm_server(
    small_model: Model, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[VllmServer]:
    server = VllmServer(small_model, free_port(), tmp_path_factory.mktemp("vllm") / "log")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def adapter_folder(small_model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real adapter with PEFT's account of it. Made once; spoil a copy."""
    from tests.services.generator.adapters import make_adapter

    folder = tmp_path_factory.mktemp("adapter")
    make_adapter(small_model.folder, folder)
    return folder


@pytest.fixture
def registry(database_url: str, storage_url: str) -> Iterator[Registry]:
    registry = Registry(database_url, storage_url)
    with serving(registry.app) as registry.url:
        yield registry


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """In place of vLLM, where a fault is needed that a real one does not have on demand."""
    upstream = Upstream(BASE)
    with serving(upstream.app) as upstream.url:
        yield upstream


StartGenerator = Callable[..., str]


@pytest.fixture
def start_generator(
    database_url: str, storage_url: str, tmp_path: Path
) -> Iterator[StartGenerator]:
    """``start_generator(vllm_url, **settings)`` starts one and returns its URL."""
    with ExitStack() as running:

        def start(vllm_url: str, **changes: Any) -> str:
            settings = {
                "mode": "local",
                "database_url": database_url,
                "storage_url": storage_url,
                "vllm_urls": [vllm_url],
                "base_model": BASE,
                "base_model_path": str(tiny_base(tmp_path / "base")),
                "adapter_cache": tmp_path / "cache",
                "reconcile_seconds": 0.5,
                **changes,
            }
            app = create_app(GeneratorSettings(**settings))
            context: AbstractContextManager[str] = serving(app)
            return running.enter_context(context)

        yield start


@pytest.fixture
def generator(start_generator: StartGenerator, upstream: Upstream, registry: Registry) -> str:
    """A generator whose vLLM answers by rote; enough wherever the model's words do not matter."""
    return start_generator(upstream.url, trainer_url=registry.url)


@pytest.fixture
def real_generator(
    start_generator: StartGenerator, vllm_server: VllmServer, registry: Registry
) -> str:
    return start_generator(
        vllm_server.url,
        trainer_url=registry.url,
        base_model_path=str(vllm_server.model.folder),
    )
