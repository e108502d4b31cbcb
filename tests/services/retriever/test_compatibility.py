"""A store whose vectors are one model's, and a server that runs another."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.responses import Response

from services.retriever import ingestion
from services.retriever.embedding import Embedder
from services.retriever.main import create_app
from services.retriever.settings import RetrieverSettings
from tests.conftest import free_port
from tests.services.retriever.conftest import DIMENSIONS, Library, Retriever, serving
from tests.services.retriever.embedding.server import (
    KEY,
    SIZE,
    EmbeddingServer,
    embedding_server,
    proper,
)

SHELF = [
    {"id": "cat", "text": "A cat sleeps on the warm windowsill."},
    {"id": "ship", "text": "The cargo vessel left the harbour at dawn."},
]


@pytest.fixture(scope="module")
def server(retriever: Retriever) -> Iterator[EmbeddingServer]:
    with embedding_server(retriever.embedder.embed) as running:
        yield running


@pytest.fixture(scope="module")
def other(retriever: Retriever, server: EmbeddingServer) -> Iterator[Retriever]:
    """A second retriever on the same database, whose vectors come from another server."""
    values = retriever.settings.model_dump() | {
        "embedding_url": server.url,
        "embedding_key": KEY,
        "embedding_model": "small",
    }
    settings = RetrieverSettings(**values)
    embedder = Embedder.from_settings(settings, threads=1)
    embedder.load()
    with (
        serving(create_app(settings), free_port()) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        yield dataclasses.replace(
            retriever, url=url, http=http, embedder=embedder, settings=settings
        )


def refusal(response: httpx.Response) -> str:
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("embedding_model_mismatch", "vector_store_id")
    return str(error["message"])


def shown(retriever: Retriever, store_id: str) -> dict[str, Any]:
    return dict(retriever.http.get(f"/v1/vector_stores/{store_id}").json())


def test_a_store_takes_the_model_of_its_first_vector(
    retriever: Retriever, other: Retriever
) -> None:
    empty = retriever.store()
    fields = ("embedding_model", "embedding_identity", "dimensions")
    assert [shown(retriever, empty)[name] for name in fields] == [None, None, None]
    assert retriever.search(empty, "anything") == []
    sent = other.send(empty, SHELF)
    other.embed(sent["id"])
    store = shown(retriever, empty)
    assert [store[name] for name in fields] == ["small", other.embedder.identity, SIZE]


def test_vectors_of_a_server_find_what_was_meant(other: Retriever) -> None:
    store_id = other.fill(SHELF)
    assert other.search(store_id, "boat departing from a port", mode="vector")[0] == "ship"
    audited = other.http.post(f"/v1/vector_stores/{store_id}/audit", json={"k": 1}).json()
    assert audited["recall"] == 1


def test_a_search_is_put_off_while_the_embedding_server_is_away(
    other: Retriever, server: EmbeddingServer
) -> None:
    store_id = other.fill(SHELF)
    server.answer = lambda _: Response("overloaded", status_code=500)
    try:
        refused = other.http.post(f"/v1/vector_stores/{store_id}/search", json={"query": "boat"})
        assert other.search(store_id, "harbour", mode="text") == ["ship"]
    finally:
        server.answer = proper
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
    assert refused.json()["error"]["code"] == "embedding_server_unavailable"


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        ("search", {"query": "boat"}),
        ("search", {"vector": [1.0] * SIZE, "mode": "vector"}),
        ("search", {"vector": [1.0] * DIMENSIONS, "mode": "vector"}),
        ("search/batch", {"queries": [{"query": "boat"}]}),
        ("audit", {"queries": ["boat"]}),
    ],
)
def test_a_store_of_another_model_is_not_searched_by_vectors(
    retriever: Retriever, other: Retriever, path: str, ask: dict[str, Any]
) -> None:
    store_id = retriever.fill(SHELF)
    said = refusal(other.http.post(f"/v1/vector_stores/{store_id}/{path}", json=ask))
    assert "'model' of 384 dimensions" in said  # a folder's name, not where it lies
    assert "this server runs 'small' of 48 dimensions" in said
    assert other.search(store_id, "harbour", mode="text") == ["ship"]
    assert retriever.search(store_id, "boat")[0] == "ship"


def test_a_store_takes_the_model_that_serves_with_its_first_ready_vector(
    retriever: Retriever, other: Retriever
) -> None:
    store_id = other.store()
    vectors = [[float(n == place) for n in range(SIZE)] for place in range(3)]
    sent = other.send(
        store_id,
        ({"id": str(n), "text": "x", "embedding": vector} for n, vector in enumerate(vectors)),
    )
    assert (sent["status"], sent["embedded"]) == ("completed", 3)
    store = shown(retriever, store_id)
    assert (store["embedding_model"], store["dimensions"]) == ("small", SIZE)
    ask = {"vector": vectors[2], "mode": "vector", "max_num_results": 1}
    found = other.http.post(f"/v1/vector_stores/{store_id}/search", json=ask).json()["data"]
    assert [hit["passage_id"] for hit in found] == ["2"]
    line = json.dumps({"id": "9", "text": "x", "embedding": [1.0] * DIMENSIONS})
    refusal(retriever.http.post(f"/v1/vector_stores/{store_id}/passages", content=line))


def test_nothing_comes_into_a_store_of_another_model(library: Library, other: Retriever) -> None:
    retriever = library.retriever
    store_id = retriever.fill(SHELF)
    base, file_id = f"/v1/vector_stores/{store_id}", library.upload("a.txt", "An anvil.")
    line = b'{"id":"dog","text":"A dog barks."}'
    refusal(other.http.post(f"{base}/passages", content=line))
    refusal(other.http.post(f"{base}/files", json={"file_id": file_id}))
    refusal(other.http.post(f"{base}/file_batches", json={"file_ids": [file_id]}))
    refusal(other.http.post(f"{base}/ingestions", json={"file_id": file_id}))
    assert shown(retriever, store_id)["file_counts"]["total"] == 1


def test_a_worker_with_another_model_ends_the_ingestion_and_says_why(
    retriever: Retriever, other: Retriever
) -> None:
    store_id = retriever.fill(SHELF)
    sent = retriever.send(store_id, [{"id": "dog", "text": "A dog barks."}])
    ingestion.embed(other.db, other.embedder, sent["id"])
    url = f"/v1/vector_stores/{store_id}/ingestions/{sent['id']}"
    ended = retriever.http.get(url).json()
    assert ended["status"] == "failed"
    assert "this server runs 'small'" in ended["error"]
    retriever.http.post(f"{url}/resume")
    retriever.embed(sent["id"])
    assert "dog" in retriever.search(store_id, "a barking dog")
