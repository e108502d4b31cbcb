"""Vectors that come ready made: with passages, and instead of a query's words."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from services.retriever.vectors import unit
from tests.services.retriever.conftest import DIMENSIONS, Library, Retriever


def axis(place: int, length: float = 1.0) -> list[float]:
    return [length * (n == place) for n in range(DIMENSIONS)]


def between(one: int, other: int) -> list[float]:
    return np.add(axis(one), axis(other, 0.5)).tolist()


def nearest(retriever: Retriever, store_id: str, vector: list[float], **ask: Any) -> list[str]:
    body = {"vector": vector, "mode": "vector", **ask}
    response = retriever.http.post(f"/v1/vector_stores/{store_id}/search", json=body)
    assert response.status_code == 200, response.text
    return [hit["passage_id"] for hit in response.json()["data"]]


def passages_of(retriever: Retriever, store_id: str) -> int:
    return int(retriever.http.get(f"/v1/vector_stores/{store_id}").json()["passages"])


@given(arrays(np.float64, 4, elements=st.floats(-1e300, 1e300)))
def test_a_vector_of_any_length_is_brought_to_one(numbers: Any) -> None:
    if not numbers.any():
        with pytest.raises(ValueError, match="zero"):
            unit(numbers)
        return
    vector = unit(numbers)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    assert np.sign(vector[np.abs(numbers).argmax()]) == np.sign(numbers[np.abs(numbers).argmax()])


@pytest.mark.parametrize("numbers", [[np.nan, 1, 1, 1], [np.inf, 1, 1, 1]])
def test_a_vector_without_end_is_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError, match="numbers"):
        unit(numbers)


def test_passages_with_vectors_are_searchable_at_once(retriever: Retriever) -> None:
    store_id = retriever.store()
    sent = retriever.send(
        store_id, ({"id": str(n), "text": "x", "embedding": axis(n, 7.0)} for n in range(5))
    )
    assert (sent["status"], sent["received"], sent["embedded"]) == ("completed", 5, 5)
    assert sent["finished_at"] is not None
    assert passages_of(retriever, store_id) == 5
    assert nearest(retriever, store_id, between(3, 1), max_num_results=2) == ["3", "1"]


def test_the_rest_of_an_ingestion_is_embedded_by_a_worker(retriever: Retriever) -> None:
    store_id = retriever.store()
    sent = retriever.send(
        store_id,
        [{"id": "ready", "text": "soup", "embedding": axis(0)}, {"id": "words", "text": "A cat."}],
    )
    assert (sent["status"], sent["received"], sent["embedded"]) == ("in_progress", 2, 1)
    assert nearest(retriever, store_id, axis(0)) == ["ready"]
    retriever.embed(sent["id"])
    assert retriever.search(store_id, "cat", mode="vector")[0] == "words"
    assert passages_of(retriever, store_id) == 2
    # The vector that came is kept; the model's own of "soup" is another.
    assert nearest(retriever, store_id, axis(0), max_num_results=1) == ["ready"]


def test_a_vector_sent_again_takes_the_place_of_the_old_one(retriever: Retriever) -> None:
    store_id = retriever.store()
    for place in (0, 1, 1):
        retriever.send(
            store_id,
            [
                {"id": "a", "text": "x", "embedding": axis(place)},
                {"id": "b", "text": "y", "embedding": between(0, 1)},
            ],
        )
        assert passages_of(retriever, store_id) == 2
    assert nearest(retriever, store_id, axis(0)) == ["b", "a"]


def test_a_text_that_changes_without_a_vector_loses_the_one_it_came_with(
    retriever: Retriever,
) -> None:
    store_id = retriever.store()
    retriever.send(store_id, [{"id": "a", "text": "x", "embedding": axis(0)}])
    same = retriever.send(store_id, [{"id": "a", "text": "x", "attributes": {"n": 1}}])
    assert same["status"] == "completed"
    changed = retriever.send(store_id, [{"id": "a", "text": "y"}])
    assert changed["status"] == "in_progress"
    assert passages_of(retriever, store_id) == 0


@pytest.mark.parametrize("wrong", [[1.0], axis(DIMENSIONS), ["1", *axis(0)[1:]]])
def test_a_wrong_vector_names_its_line_and_keeps_everything_out(
    retriever: Retriever, wrong: list[Any]
) -> None:
    store_id = retriever.store()
    lines = [
        {"id": "a", "text": "x", "embedding": axis(0)},
        {"id": "b", "text": "x", "embedding": wrong},
    ]
    body = "\n".join(json.dumps(line) for line in lines)
    response = retriever.http.post(f"/v1/vector_stores/{store_id}/passages", content=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["message"].startswith("Line 2: ")
    assert error["param"].startswith("embedding")
    assert passages_of(retriever, store_id) == 0


def test_an_uploaded_file_of_passages_may_bring_vectors(library: Library) -> None:
    retriever = library.retriever
    store_id = retriever.store()
    lines = [json.dumps({"id": str(n), "text": "x", "embedding": axis(n)}) for n in range(3)]
    file_id = library.upload("p.jsonl", "\n".join(lines), purpose="user_data")
    path = f"/v1/vector_stores/{store_id}/ingestions"
    told = retriever.http.post(path, json={"file_id": file_id}).json()
    library.work()
    told = retriever.http.get(f"{path}/{told['id']}").json()
    assert (told["status"], told["embedded"]) == ("completed", 3)
    assert nearest(retriever, store_id, axis(2), max_num_results=1) == ["2"]


def test_a_vector_and_words_are_fused(retriever: Retriever) -> None:
    store_id = retriever.store()
    retriever.send(
        store_id,
        [
            {"id": "near", "text": "soup", "embedding": axis(0)},
            {"id": "named", "text": "valve", "embedding": axis(1)},
            {"id": "neither", "text": "cat", "embedding": axis(2)},
        ],
    )
    found = retriever.search(store_id, "valve", vector=axis(0), max_num_results=2)
    assert set(found) == {"near", "named"}


def test_a_batch_takes_vectors_beside_words(retriever: Retriever) -> None:
    store_id = retriever.fill([{"id": "cat", "text": "A cat sleeps."}])
    retriever.send(store_id, [{"id": "a", "text": "x", "embedding": axis(0)}])
    queries = [
        {"vector": axis(0)},
        {"query": "a sleeping cat"},
        {"vector": axis(0, 5), "query": "x"},
    ]
    answer = retriever.http.post(
        f"/v1/vector_stores/{store_id}/search/batch",
        json={"queries": queries, "mode": "vector", "max_num_results": 1},
    ).json()
    assert [hits[0]["passage_id"] for hits in answer["data"]] == ["a", "cat", "a"]
