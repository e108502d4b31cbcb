"""When the index is used, when all is read, and that neither loses what the other finds."""

from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from services.common.db import Reader
from services.retriever import candidates, scanning
from tests.services.retriever.conftest import DIMENSIONS, Retriever, running

SIZE = 60


@pytest.fixture(scope="module")
def vectors() -> list[list[float]]:
    random = np.random.default_rng(0)
    numbers: list[list[float]] = random.normal(size=(SIZE, DIMENSIONS)).tolist()
    return numbers


@pytest.fixture(scope="module")
def store(retriever: Retriever, vectors: list[list[float]]) -> str:
    store_id = retriever.store()
    retriever.send(
        store_id,
        (
            {"id": str(n), "text": "x", "embedding": vector, "attributes": {"n": n}}
            for n, vector in enumerate(vectors)
        ),
    )
    return store_id


def searched(
    retriever: Retriever, store_id: str, vector: list[float], **ask: Any
) -> tuple[list[str], str]:
    """What is found, and how."""
    body = {"vector": vector, "mode": "vector", "explain": True, **ask}
    page = retriever.http.post(f"/v1/vector_stores/{store_id}/search", json=body).json()
    scans = {stage["stage"]: stage["scan"] for stage in page["stages"]}
    assert set(scans) == {"vector", "merge", "read"}
    return [hit["passage_id"] for hit in page["data"]], scans["vector"]


def under(n: int) -> dict[str, Any]:
    return {"key": "n", "type": "lt", "value": n}


def test_a_small_store_is_read_whole(
    retriever: Retriever, store: str, vectors: list[list[float]]
) -> None:
    found, how = searched(retriever, store, vectors[7])
    assert (found[0], how) == ("7", "exact")


def test_a_large_store_goes_through_the_index_unless_a_filter_leaves_few(
    retriever: Retriever,
    store: str,
    vectors: list[list[float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scanning, "FEW", 20)
    found, how = searched(retriever, store, vectors[7])
    assert (found[0], how) == ("7", "index")
    assert searched(retriever, store, vectors[7], filters=under(21))[1] == "index"
    found, how = searched(retriever, store, vectors[7], filters=under(20), max_num_results=50)
    assert (found[0], len(found), how) == ("7", 20, "exact")


def test_what_the_index_gives_up_on_is_read(
    retriever: Retriever, vectors: list[list[float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """HNSW walks the vectors of all stores, and stops after so many of others."""
    soon = {"hnsw.max_scan_tuples": "50", "enable_seqscan": "off"}
    breadth = candidates.breadth
    monkeypatch.setattr(candidates, "breadth", lambda ef_search: breadth(ef_search) | soon)
    monkeypatch.setattr(scanning, "FEW", 1)
    with running(retriever.settings) as own:
        crowded = own.store()
        near = np.random.default_rng(1).normal(size=(600, DIMENSIONS)) * 0.01 + vectors[0]
        own.send(
            crowded,
            ({"id": str(n), "text": "x", "embedding": row.tolist()} for n, row in enumerate(near)),
        )
        away = own.store()
        own.send(
            away,
            (
                {"id": str(n), "text": "x", "embedding": np.negative(vector).tolist()}
                for n, vector in enumerate(vectors[:12])
            ),
        )
        found, how = searched(own, away, vectors[0], max_num_results=12)
        assert (len(found), how) == (12, "exact")


def test_a_batch_reads_or_looks_up_by_each_filter(
    retriever: Retriever,
    store: str,
    vectors: list[list[float]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queries = [{"vector": vectors[3]}, {"vector": vectors[3], "filters": under(3)}]
    ask = {"queries": queries, "mode": "vector"}
    path = f"/v1/vector_stores/{store}/search/batch"
    exact = retriever.http.post(path, json=ask).json()["data"]
    monkeypatch.setattr(scanning, "FEW", 20)
    mixed = retriever.http.post(path, json=ask).json()["data"]
    assert [hit["passage_id"] for hit in mixed[1]] == [hit["passage_id"] for hit in exact[1]]
    assert {hit["passage_id"] for hit in exact[1]} == {"0", "1", "2"}
    assert mixed[0][0]["passage_id"] == exact[0][0]["passage_id"] == "3"


async def test_a_server_that_compiles_compiles_no_search(retriever: Retriever) -> None:
    """Planned for all stores, it seems dear enough to."""
    reader = Reader(retriever.settings.database_url, settings=candidates.breadth(100))
    try:
        assert await reader.on_loop(lambda session: session.scalar(text("show jit"))) == "off"
    finally:
        await reader.aclose()
