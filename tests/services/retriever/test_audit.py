"""Recall of the index against an exact scan, on vectors whose neighbours are known."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from services.retriever import audit, candidates, scanning
from tests.services.retriever.conftest import DIMENSIONS, Retriever
from tests.services.retriever.test_search import _insert


def audited(retriever: Retriever, store_id: str, **ask: Any) -> dict[str, Any]:
    response = retriever.http.post(f"/v1/vector_stores/{store_id}/audit", json=ask)
    assert response.status_code == 200, response.text
    return dict(response.json())


@pytest.fixture(scope="module")
def store(retriever: Retriever) -> str:
    store_id = retriever.store()
    random = np.random.default_rng(0)
    centres = random.normal(size=(20, DIMENSIONS))
    vectors = centres[random.integers(20, size=1_500)] + random.normal(size=(1_500, DIMENSIONS))
    _insert(retriever, store_id, vectors.astype(np.float32))
    return store_id


def test_the_index_is_compared_with_an_exact_scan(retriever: Retriever, store: str) -> None:
    told = audited(retriever, store, k=5, sample=40)
    assert (told["object"], told["queries"], told["k"]) == ("vector_store.audit", 40, 5)
    assert told["recall"] >= 0.95
    low, high = told["interval"]
    assert 0 < low <= told["recall"] <= high <= 1
    assert told["milliseconds_per_search"] > 0
    assert told["milliseconds_per_scan"] > 0


def test_what_the_index_misses_is_counted(
    retriever: Retriever, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = candidates.nearest

    def poor(
        session: Session,
        store_id: str,
        vectors: npt.NDArray[np.float32],
        where: Any,
        *,
        limit: int,
        exact: bool = False,
    ) -> Any:
        """Search that misses every other passage, unless it is exact."""
        if exact:
            return whole(session, store_id, vectors, where, limit=limit, exact=True)
        return [hits[::2] for hits in whole(session, store_id, vectors, where, limit=2 * limit)]

    monkeypatch.setattr(scanning, "FEW", 0)
    monkeypatch.setattr(candidates, "nearest", poor)
    told = audited(retriever, store, k=10, sample=20)
    assert told["recall"] == pytest.approx(0.5, abs=0.06)
    assert told["imperfect"] == 20


def test_a_passage_is_not_its_own_neighbour(retriever: Retriever) -> None:
    alone = retriever.fill([{"id": "a", "text": "Alone."}])
    response = retriever.http.post(f"/v1/vector_stores/{alone}/audit", json={})
    assert (response.status_code, response.json()["error"]["code"]) == (400, "empty")


def test_the_callers_own_queries_and_filters_are_audited(retriever: Retriever) -> None:
    store_id = retriever.fill(
        {"id": str(n), "text": f"Crate {n} is blue.", "attributes": {"n": n}} for n in range(8)
    )
    few: Any = {"type": "lt", "key": "n", "value": 3}
    told = audited(retriever, store_id, queries=["Which crate?", "blue"], filters=few)
    assert (told["queries"], told["recall"], told["imperfect"]) == (2, 1.0, 0)
    assert audited(retriever, store_id, filters=few)["queries"] == 3


def test_the_same_seed_takes_the_same_sample(retriever: Retriever, store: str) -> None:
    with retriever.db.transaction() as session:
        first, again, other = (
            candidates.sampled(session, store, None, 50, seed=seed)[0] for seed in (1, 1, 2)
        )
    assert first == again
    assert set(first) != set(other)


def test_equal_distances_count_whichever_was_found(retriever: Retriever) -> None:
    store_id = retriever.fill({"id": str(n), "text": "All the same."} for n in range(60))
    assert audited(retriever, store_id, k=3, sample=10)["recall"] == 1.0


@given(st.floats(0, 1), st.integers(1, 10_000))
def test_an_interval_holds_the_mean_and_narrows_with_more_queries(mean: float, count: int) -> None:
    low, high = audit.interval(mean, count)
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    more = audit.interval(mean, 4 * count)
    assert more[1] - more[0] < high - low


def test_intervals_are_wilsons() -> None:
    # R: binom::binom.wilson(c(10, 45), c(10, 50))
    assert audit.interval(1.0, 10) == pytest.approx((0.72247, 1.0), abs=1e-4)
    assert audit.interval(0.9, 50) == pytest.approx((0.78640, 0.95652), abs=1e-4)


def test_intervals_cover_the_true_mean_of_recalls() -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        recalls = random.binomial(10, random.beta(20, 1, size=60)) / 10
        low, high = audit.interval(float(recalls.mean()), 60)
        covered += low <= 20 / 21 <= high
    assert covered / 500 >= 0.95
