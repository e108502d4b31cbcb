"""What a search says of itself when asked."""

from typing import Any

import pytest

from services.retriever.ranking import best_first, fuse
from tests.services.retriever.conftest import Retriever

SHELF = [
    {"id": "cat", "text": "A cat sleeps on the warm windowsill."},
    {"id": "code", "text": "Valve ZX-4411 must be replaced every nine months."},
    {"id": "soup", "text": "Tomato soup is served on Tuesdays."},
]


@pytest.fixture(scope="module")
def shelf(retriever: Retriever) -> str:
    return retriever.fill(SHELF)


def found(retriever: Retriever, store_id: str, **ask: Any) -> dict[str, Any]:
    response = retriever.http.post(f"/v1/vector_stores/{store_id}/search", json=ask)
    assert response.status_code == 200, response.text
    return dict(response.json())


def test_each_result_says_its_place_in_every_ranking(retriever: Retriever, shelf: str) -> None:
    page = found(retriever, shelf, query="When is valve ZX-4411 replaced?", explain=True)
    first, *others = page["data"]
    assert first["passage_id"] == "code"
    assert {(place["stage"], place["rank"]) for place in first["placements"]} == {
        ("vector", 1),
        ("text", 1),
    }
    # Nobody else shares a word with the question.
    for other in others:
        assert [place["stage"] for place in other["placements"]] == ["vector"]
    ranks = sorted(other["placements"][0]["rank"] for other in others)
    assert ranks == [2, 3]
    scores: dict[str, list[tuple[int, float]]] = {"vector": [], "text": []}
    for number, hit in enumerate(page["data"]):
        for place in hit["placements"]:
            scores[place["stage"]].append((number, place["score"]))
    fused = fuse([best_first(scores["vector"]), scores["text"]], (1, 1))
    assert [hit["score"] for hit in page["data"]] == pytest.approx([score for _, score in fused])


def test_each_stage_says_how_long_it_took(retriever: Retriever, shelf: str) -> None:
    stages = {
        mode: [
            time["stage"]
            for time in found(retriever, shelf, query="soup", mode=mode, explain=True)["stages"]
            if time["milliseconds"] >= 0
        ]
        for mode in ("hybrid", "vector", "text")
    }
    assert stages == {
        "hybrid": ["embed", "vector", "text", "merge", "read"],
        "vector": ["embed", "vector", "merge", "read"],
        "text": ["text", "merge", "read"],
    }


def test_scores_of_a_ranking_are_its_own(retriever: Retriever, shelf: str) -> None:
    ask: dict[str, Any] = {"query": "warm soup for the cat"}
    explained = found(retriever, shelf, **ask, explain=True)["data"]
    for mode in ("vector", "text"):
        alone = {
            hit["passage_id"]: hit["score"]
            for hit in found(retriever, shelf, **ask, mode=mode)["data"]
        }
        told = {
            hit["passage_id"]: place["score"]
            for hit in explained
            for place in hit["placements"]
            if place["stage"] == mode
        }
        assert told == pytest.approx(alone)


def test_places_name_the_query_they_are_of(retriever: Retriever, shelf: str) -> None:
    page = found(retriever, shelf, query=["tomato", "cat"], mode="text", explain=True)
    places = {hit["passage_id"]: hit["placements"] for hit in page["data"]}
    assert [place["query"] for place in places["soup"]] == [0]
    assert [place["query"] for place in places["cat"]] == [1]


def test_a_score_is_made_of_places_by_weights_that_are_told(
    retriever: Retriever, shelf: str
) -> None:
    weights = {"embedding_weight": 1, "text_weight": 3}
    ask: dict[str, Any] = {"query": ["warm soup", "valve"], "explain": True}
    page = found(retriever, shelf, **ask, ranking_options={"hybrid_search": weights})
    told = page["fusion"]
    assert (told["embedding_weight"], told["text_weight"]) == (0.25, 0.75)
    share = {"vector": told["embedding_weight"] / 2, "text": told["text_weight"] / 2}
    for hit in page["data"]:
        score = sum(
            share[place["stage"]] * (told["k"] + 1) / (told["k"] + place["rank"]) * place["of_best"]
            for place in hit["placements"]
        )
        assert hit["score"] == pytest.approx(score)
    assert found(retriever, shelf, **ask)["fusion"]["text_weight"] == 0.5
    assert found(retriever, shelf, **ask, mode="text")["fusion"] is None


def test_nothing_is_explained_unasked(retriever: Retriever, shelf: str) -> None:
    page = found(retriever, shelf, query="soup")
    assert page["stages"] is None
    assert page["fusion"] is None
    assert all(hit["placements"] is None for hit in page["data"])
