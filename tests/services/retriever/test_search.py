from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from services.retriever import candidates, staging, storage, vector_index
from tests.services.retriever.conftest import DIMENSIONS, Retriever

SHELF = [
    {"id": "cat", "text": "A cat sleeps on the warm windowsill."},
    {"id": "ship", "text": "The cargo vessel left the harbour at dawn."},
    {"id": "code", "text": "Valve ZX-4411 must be replaced every nine months."},
    {"id": "code2", "text": "Valve ZX-4412 must be replaced every three months."},
    {"id": "soup", "title": "Canteen", "text": "Tomato soup is served on Tuesdays."},
]


@pytest.fixture(scope="module")
def shelf(retriever: Retriever) -> str:
    return retriever.fill(SHELF)


def test_vectors_find_what_is_said_in_other_words(retriever: Retriever, shelf: str) -> None:
    assert retriever.search(shelf, "boat departing from a port", mode="vector")[0] == "ship"
    assert retriever.search(shelf, "boat departing from a port", mode="text") == []
    assert retriever.search(shelf, "boat departing from a port")[0] == "ship"


def test_full_text_finds_a_part_number(retriever: Retriever, shelf: str) -> None:
    assert retriever.search(shelf, "ZX-4411 interval", mode="text")[0] == "code"
    assert retriever.search(shelf, "ZX-4411 interval")[0] == "code"


def test_a_question_need_not_share_all_its_words(retriever: Retriever, shelf: str) -> None:
    assert retriever.search(shelf, "on which days could somebody eat soup here?", mode="text") == [
        "soup"
    ]


def test_a_title_is_searched_too(retriever: Retriever, shelf: str) -> None:
    assert retriever.search(shelf, "canteen", mode="text") == ["soup"]


def test_a_rare_word_weighs_more_than_a_common_one(retriever: Retriever) -> None:
    filler = [{"id": f"f{n}", "text": f"report report report number {n}"} for n in range(20)]
    store_id = retriever.fill([*filler, {"id": "rare", "text": "a heron in a long list of birds"}])
    assert retriever.search(store_id, "report heron", mode="text")[0] == "rare"


def test_hybrid_finds_what_only_one_side_finds(retriever: Retriever, shelf: str) -> None:
    """Each question is missed at rank one by one of the parts; together both are answered."""
    questions = {"feline napping in the sun": "cat", "4412": "code2"}
    hits = {
        mode: sum(
            retriever.search(shelf, question, mode=mode)[:1] == [answer]
            for question, answer in questions.items()
        )
        for mode in ("vector", "text", "hybrid")
    }
    assert hits["hybrid"] == 2
    assert hits["hybrid"] >= max(hits["vector"], hits["text"])


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_scores_fall_and_lie_between_zero_and_one(
    retriever: Retriever, shelf: str, mode: str
) -> None:
    asked = {"query": "When is the valve replaced?", "mode": mode}
    found = retriever.http.post(f"/v1/vector_stores/{shelf}/search", json=asked).json()
    scores = [result["score"] for result in found["data"]]
    assert scores
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)


def test_a_threshold_cuts_the_tail(retriever: Retriever, shelf: str) -> None:
    asked = {"query": "valve replacement", "mode": "vector"}
    url = f"/v1/vector_stores/{shelf}/search"
    every = retriever.http.post(url, json=asked).json()["data"]
    cut = every[1]["score"]
    kept = retriever.http.post(
        url, json={**asked, "ranking_options": {"score_threshold": cut}}
    ).json()["data"]
    assert kept == every[:2]
    assert len(every) == len(SHELF)


@pytest.mark.parametrize("only", ["vector", "text"])
def test_a_ranking_may_count_for_nothing_in_the_hybrid(
    retriever: Retriever, shelf: str, only: str
) -> None:
    weights = {"embedding_weight": int(only == "vector"), "text_weight": int(only == "text")}
    options = {"ranking_options": {"hybrid_search": weights}}
    query = "Tomatoes aboard the vessel"
    alone = retriever.search(shelf, query, mode=only)
    assert alone
    assert retriever.search(shelf, query, **options) == alone
    url = f"/v1/vector_stores/{shelf}/search/batch"
    batch = retriever.http.post(url, json={"queries": [{"query": query}], **options}).json()
    assert [hit["passage_id"] for hit in batch["data"][0]] == alone


def test_several_queries_find_the_answers_of_each(retriever: Retriever, shelf: str) -> None:
    both = ["cat on a windowsill", "tomato soup"]
    for mode in ("hybrid", "vector", "text"):
        assert set(retriever.search(shelf, both, mode=mode, max_num_results=2)) == {"cat", "soup"}
    answer = retriever.http.post(f"/v1/vector_stores/{shelf}/search", json={"query": both}).json()
    assert answer["search_query"] == both


@pytest.mark.parametrize("mode", ["hybrid", "vector", "text"])
def test_a_batch_finds_what_single_searches_find(
    retriever: Retriever, shelf: str, mode: str
) -> None:
    only = {"key": "doc_id", "type": "in", "value": ["cat", "ship"]}
    queries = [
        {"query": "valve months"},
        {"query": "vessel", "filters": only},
        {"query": "it's \\ 'quoted' & odd | !"},
        {"query": "soup"},
        {"query": "sleeping", "filters": only},
    ]
    url = f"/v1/vector_stores/{shelf}/search"
    batch = retriever.http.post(
        f"{url}/batch", json={"queries": queries, "mode": mode, "max_num_results": 3}
    ).json()["data"]
    for query, found in zip(queries, batch, strict=True):
        single = retriever.http.post(
            url, json={**query, "mode": mode, "max_num_results": 3}
        ).json()["data"]
        assert [hit["passage_id"] for hit in found] == [hit["passage_id"] for hit in single]
        assert [hit["score"] for hit in found] == pytest.approx(
            [hit["score"] for hit in single], abs=1e-3
        )


def test_searches_at_the_same_time_find_what_each_finds_alone(
    retriever: Retriever, shelf: str
) -> None:
    """They go to PostgreSQL together, with those that are refused or ask for something else."""
    axis = [1.0] + [0.0] * (DIMENSIONS - 1)
    only = {"key": "doc_id", "type": "in", "value": ["cat", "ship"]}
    asks: list[dict[str, Any]] = [
        {"query": "valve months", "mode": "vector"},
        {"query": "a boat", "mode": "vector", "filters": only},
        {"query": "a boat", "mode": "vector", "max_num_results": 1},
        {"query": "soup", "mode": "text"},
        {"query": ["sleeping", "harbour"]},
        {"query": "soup", "explain": True},
        {"vector": axis, "mode": "vector"},
        {"vector": axis[1:], "mode": "vector"},
        {"vector": [0.0] * DIMENSIONS, "mode": "vector"},
        {"query": "soup", "mode": "vector", "ranking_options": {"score_threshold": 0.5}},
    ]

    def answer(ask: dict[str, Any]) -> tuple[int, Any]:
        response = retriever.http.post(f"/v1/vector_stores/{shelf}/search", json=ask)
        page = response.json()
        if response.is_error:
            return response.status_code, page["error"]["message"]
        return response.status_code, [(hit["passage_id"], hit["score"]) for hit in page["data"]]

    alone = [answer(ask) for ask in asks]
    assert [status for status, _ in alone].count(400) == 2
    with ThreadPoolExecutor(16) as callers:
        together = list(callers.map(answer, asks * 20))
    for one, (status, found) in zip(together, alone * 20, strict=True):
        assert one[0] == status
        if status == 200:
            assert [hit[0] for hit in one[1]] == [hit[0] for hit in found]
            assert [hit[1] for hit in one[1]] == pytest.approx([hit[1] for hit in found], abs=1e-3)
        else:
            assert one[1] == found


@pytest.mark.parametrize("query", ["the of and", "!!!", "' \\ :* & |", "(((", "🙂", "a" * 20_000])
def test_odd_queries_are_answered(retriever: Retriever, shelf: str, query: str) -> None:
    for mode in ("hybrid", "vector", "text"):
        retriever.search(shelf, query, mode=mode)


def test_an_empty_store_answers_with_nothing(retriever: Retriever) -> None:
    assert retriever.search(retriever.store(), "anything") == []


def test_the_index_finds_what_an_exact_scan_finds_in_each_store(retriever: Retriever) -> None:
    """HNSW over all stores, filtered to one: without iterative scans a small store starves."""
    random = np.random.default_rng(0)
    sizes = {retriever.store(): 1_900, retriever.store(): 100}
    for store_id, size in sizes.items():
        centres = random.normal(size=(20, DIMENSIONS))
        vectors = centres[random.integers(20, size=size)] + random.normal(size=(size, DIMENSIONS))
        _insert(retriever, store_id, vectors.astype(np.float32))
    for store_id in sizes:
        with retriever.db.transaction() as session:
            queries = _some_vectors(session, store_id, 50)
            exact = candidates.nearest(session, store_id, queries, None, limit=10, exact=True)
        with retriever.db.transaction() as session:
            off = {"enable_seqscan": "off", "enable_bitmapscan": "off"}
            for name, value in (candidates.breadth(100) | off).items():
                session.execute(select(func.set_config(name, value, True)))
            approximate = candidates.nearest(session, store_id, queries, None, limit=10)
        found = [
            len({pk for pk, _ in near} & {pk for pk, _ in true}) / 10
            for near, true in zip(approximate, exact, strict=True)
        ]
        assert np.mean(found) >= 0.95


def _insert(retriever: Retriever, store_id: str, vectors: npt.NDArray[np.float32]) -> None:
    vector_index.ensure(retriever.db, vectors.shape[1])
    sent = retriever.send(store_id, ({"id": str(n), "text": "x"} for n in range(len(vectors))))
    with retriever.db.transaction() as session:
        rows = staging.without_vector(session, sent["id"], after=0, limit=len(vectors))
        added = staging.add_vectors(
            session,
            store_id=store_id,
            ingestion_id=sent["id"],
            pks=[pk for pk, _, _ in rows],
            vectors=vectors,
        )
        storage.lock_store(session, store_id).passages += len(added)


def _some_vectors(session: Session, store_id: str, count: int) -> npt.NDArray[np.float32]:
    rows = session.scalars(
        text(
            "select embedding::text from retriever.passage_vectors where store_id = :store "
            "order by passage_pk limit :count"
        ),
        {"store": store_id, "count": count},
    )
    return np.array([[float(x) for x in row.strip("[]").split(",")] for row in rows], np.float32)
