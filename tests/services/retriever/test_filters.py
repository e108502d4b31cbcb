import json
from typing import Any

import pytest

from tests.services.retriever.conftest import Retriever

PASSAGES: list[dict[str, Any]] = [
    {"id": "a", "doc_id": "d1", "text": "alpha", "attributes": {"year": 2019, "lang": "en"}},
    {"id": "b", "doc_id": "d1", "text": "beta", "attributes": {"year": 2021.5, "draft": True}},
    {"id": "c", "doc_id": "d2", "text": "gamma", "attributes": {"year": "2020", "lang": "de"}},
    {
        "id": "d",
        "doc_id": "d3",
        "text": "delta",
        "attributes": {"odd key'\"\\": "x", "draft": False},
    },
    {"id": "e", "doc_id": "d3", "text": "epsilon"},
]


def of(key: str, kind: str, value: Any) -> dict[str, Any]:
    return {"key": key, "type": kind, "value": value}


def all_of(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "and", "filters": list(filters)}


def any_of(*filters: dict[str, Any]) -> dict[str, Any]:
    return {"type": "or", "filters": list(filters)}


@pytest.fixture(scope="module")
def store(retriever: Retriever) -> str:
    return retriever.fill(PASSAGES)


MATCHES = [
    (of("lang", "eq", "en"), "a"),
    (of("lang", "ne", "en"), "bcde"),
    (of("lang", "in", ["en", "de"]), "ac"),
    (of("lang", "nin", ["en", "de"]), "bde"),
    (of("year", "eq", 2019), "a"),
    (of("year", "eq", "2019"), ""),
    (of("year", "gt", 2019), "b"),
    (of("year", "gte", 2019), "ab"),
    (of("year", "lt", 2021.5), "a"),
    (of("year", "lte", 2021.5), "ab"),
    (of("year", "gte", "2020"), "c"),
    (of("year", "in", [2019, "2020"]), "ac"),
    (of("draft", "eq", True), "b"),
    (of("draft", "ne", True), "acde"),
    (of("odd key'\"\\", "eq", "x"), "d"),
    (of("nowhere", "eq", 1), ""),
    (of("nowhere", "ne", 1), "abcde"),
    (of("doc_id", "eq", "d1"), "ab"),
    (of("doc_id", "ne", "d1"), "cde"),
    (of("doc_id", "in", ["d2", "d3"]), "cde"),
    (of("doc_id", "nin", ["d2", "d3"]), "ab"),
    (of("doc_id", "gt", "d1"), "cde"),
    (of("doc_id", "in", [f"d{n}" for n in range(5_000)]), "abcde"),
    (all_of(of("doc_id", "eq", "d1"), of("year", "gt", 2020)), "b"),
    (any_of(of("lang", "eq", "de"), of("draft", "eq", False)), "cd"),
    (all_of(any_of(of("lang", "eq", "en"), of("lang", "eq", "de")), of("doc_id", "ne", "d2")), "a"),
]


@pytest.mark.parametrize(("filters", "expected"), MATCHES, ids=range(len(MATCHES)))
def test_a_filter_lets_through_what_it_says(
    retriever: Retriever, store: str, filters: dict[str, Any], expected: str
) -> None:
    found = retriever.search(store, "a Greek letter", filters=filters)
    assert "".join(sorted(found)) == expected


def test_a_filter_holds_for_full_text_too(retriever: Retriever, store: str) -> None:
    query = "alpha beta gamma delta epsilon"
    found = retriever.search(store, query, mode="text", filters=of("doc_id", "eq", "d3"))
    assert sorted(found) == ["d", "e"]


def nested(depth: int) -> dict[str, Any]:
    filters = of("lang", "eq", "en")
    for _ in range(depth):
        filters = all_of(filters)
    return filters


REFUSED = [
    of("lang", "like", "en"),
    of("lang", "eq", ["en"]),
    of("lang", "in", "en"),
    of("lang", "in", []),
    of("lang", "eq", None),
    of("lang", "eq", {"a": 1}),
    of("year", "in", [[1]]),
    of("year", "gt", True),
    of("year", "gt", [1]),
    of("doc_id", "eq", 1),
    of("doc_id", "gt", 1.5),
    of("doc_id", "in", ["a", 1]),
    of("lang", "eq", "\x00"),
    of("\x00", "eq", "x"),
    of("doc_id", "eq", "\x00"),
    of("lang", "eq", "\ud800"),
    of("", "eq", "x"),
    of("k" * 65, "eq", "x"),
    of("lang", "in", [str(n) for n in range(501)]),
    {"key": "lang", "value": "en"},
    {"type": "eq"},
    {"type": "and", "filters": []},
    {"type": "and", "filters": [of("lang", "eq", "en")] * 33},
    {"type": "xor", "filters": [of("lang", "eq", "en")]},
    {"type": "and", "filters": [{}]},
    nested(6),
    nested(200),
    nested(240),
    all_of(*[all_of(*[of("lang", "eq", "en")] * 32)] * 32),
    of("doc_id", "in", ["d"] * 10_001),
    [],
    "lang",
]


@pytest.mark.parametrize("filters", REFUSED, ids=range(len(REFUSED)))
@pytest.mark.parametrize("mode", ["hybrid", "text"])
def test_a_filter_that_makes_no_sense_is_refused(
    retriever: Retriever, store: str, filters: Any, mode: str
) -> None:
    single = {"query": "letter", "mode": mode, "filters": filters}
    batch = {"queries": [{"query": "letter", "filters": filters}], "mode": mode}
    for path, ask in (("search", single), ("search/batch", batch)):
        # Escaped JSON: a lone surrogate has no UTF-8.
        content = json.dumps(ask)
        response = retriever.http.post(f"/v1/vector_stores/{store}/{path}", content=content)
        assert response.status_code == 400, response.text
        assert response.json()["error"]["type"] == "invalid_request_error"


def test_the_deepest_filter_allowed_is_answered(retriever: Retriever, store: str) -> None:
    assert retriever.search(store, "letter", filters=nested(5)) == ["a"]
