"""The generator as a real server, before a real vLLM or before one that misbehaves on purpose."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from redis import Redis

from services.common.ids import new_id
from services.generator.main import create_app
from services.generator.settings import GeneratorSettings
from tests.services.generator.adapters.shelf import Shelf
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_base
from tests.services.generator.upstream import Upstream
from tests.vllm import VllmServer

BASE = "smollm2-135m-instruct"


@contextmanager
def serving(app: Any, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """``app`` under uvicorn, in a thread with a loop of its own; yields its URL."""
    # As our vLLMs do, it keeps idle connections for longer than the generator does.
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, lifespan="on", timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the application did not start; its log says why")
        time.sleep(0.01)
    yield f"http://{host}:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def adapter(registry: Registry, adapter_folder: Path) -> str:
    """The name of a sound adapter; a new one each time, as vLLM outlives the tests."""
    name = f"ft:{BASE}:demo:{new_id('ftjob')}"
    registry.add(name, adapter_folder, base_model=BASE)
    return name


def held(server: VllmServer) -> set[str]:
    """Names of the models that vLLM itself says it serves."""
    return {card["id"] for card in httpx.get(f"{server.url}/v1/models").json()["data"]}


@pytest.fixture
def registry(database_url: str, storage_url: str) -> Iterator[Registry]:
    registry = Registry(database_url, storage_url)
    with serving(registry.app) as registry.url:
        yield registry


@pytest.fixture
def limits_url(redis_url: str) -> str:
    """Redis, without what other tests have counted."""
    url = redis_url.removesuffix("/0") + "/5"
    Redis.from_url(url).flushdb()
    return url


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """In place of vLLM, where a fault is needed that a real one does not have on demand."""
    upstream = Upstream(BASE)
    with serving(upstream.app) as upstream.url:
        yield upstream


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    """In place of the retriever, where what is found must be known."""
    shelf = Shelf()
    with serving(shelf.app) as shelf.url:
        yield shelf


StartGenerator = Callable[..., str]


@pytest.fixture
def start_generator(
    database_url: str, storage_url: str, tmp_path: Path
) -> Iterator[StartGenerator]:
    """``start_generator(vllm_url, **settings)`` starts one and returns its URL.

    An empty ``vllm_url``: the settings say where the replicas are.
    """
    with ExitStack() as running:

        def start(vllm_url: str, **changes: Any) -> str:
            settings = {
                "mode": "local",
                "database_url": database_url,
                "storage_url": storage_url,
                "vllm_urls": [vllm_url] if vllm_url else [],
                "base_model": BASE,
                "base_model_path": str(tiny_base(tmp_path / "base")),
                "adapter_cache": tmp_path / "cache",
                "reconcile_seconds": 0.5,
                "warm_up": False,
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
