"""Whatever is asked, in the right shape or nearly: an answer, or a 4xx that says why."""

import json
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.services.retriever.conftest import Retriever

STORES = "/v1/vector_stores"
JSON = {"Content-Type": "application/json"}

# Surrogates and NUL too, and what the full-text parser takes for more than a word.
texts = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.sampled_from(["\x00", "\ud800", "a'b", "\\", "((&|!:*", "the", " ", "x" * 3_000, "%s"]),
    st.lists(
        st.sampled_from(["a-b", "http://a.example/b?c", "x@y.z", "-1.5e400", "/a/b", "🙂"])
    ).map(" ".join),
)
numbers = st.one_of(
    st.floats(), st.integers(), st.sampled_from([10**400, -(2**63), 2**53 + 1, 1e308, 5e-324])
)
scalars = texts | numbers | st.booleans() | st.none()
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)
keys = st.sampled_from(["doc_id", "lang", "year", "", "x" * 65]) | texts
kinds = st.sampled_from(["eq", "ne", "gt", "gte", "lt", "lte", "in", "nin"])
comparisons = st.fixed_dictionaries(
    {"key": keys, "type": kinds, "value": scalars | st.lists(scalars, max_size=6)}
)
filters = st.recursive(
    comparisons,
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["and", "or"]), "filters": st.lists(inner, max_size=4)}
    ),
    max_leaves=40,
)
queries = texts.filter(bool) | st.lists(texts, max_size=4)
modes = st.sampled_from(["hybrid", "vector", "text"])
searches = st.fixed_dictionaries(
    {"query": queries},
    optional={
        "filters": filters,
        "mode": modes,
        "max_num_results": st.integers(1, 50),
        "ranking_options": st.fixed_dictionaries({"score_threshold": st.floats(0, 1)}),
        "explain": st.booleans(),
    },
)
names = ["filters", "mode", "max_num_results", "ranking_options", "rewrite_query", "explain"]
misshapen = st.dictionaries(st.sampled_from(names), anything, min_size=1).map(
    lambda given: {"query": "x", **given}
)
batches = st.fixed_dictionaries(
    {
        "queries": st.lists(
            st.fixed_dictionaries({"query": texts}, optional={"filters": filters}), max_size=4
        )
    },
    optional={"mode": modes},
)
deletions = st.fixed_dictionaries({"filters": filters}) | st.fixed_dictionaries(
    {"ids": st.lists(texts, max_size=4)}
)
passages = st.fixed_dictionaries(
    {"id": texts, "text": texts},
    optional={
        "title": texts,
        "doc_id": texts,
        "attributes": st.dictionaries(keys, scalars, max_size=4),
    },
)
requests = st.one_of(
    st.tuples(st.just("search"), searches),
    st.tuples(st.just("search"), misshapen | anything),
    st.tuples(st.just("search/batch"), batches),
    st.tuples(st.just("audit"), st.fixed_dictionaries({"filters": filters})),
    st.tuples(st.just("passages/delete"), deletions),
    st.tuples(st.just("passages/get"), st.fixed_dictionaries({"ids": st.lists(texts)})),
    st.tuples(st.just("passages"), passages),
)


@pytest.fixture(scope="module")
def store(retriever: Retriever) -> str:
    return retriever.fill(
        [
            {"id": "a", "text": "alpha", "attributes": {"lang": "en", "year": 2020, "ok": True}},
            {"id": "b", "text": "beta", "attributes": {"lang": "de", "year": -1.5}},
        ]
    )


@settings(max_examples=400, deadline=None)
@given(request_=requests, escaped=st.booleans())
def test_no_request_is_answered_with_a_500(
    retriever: Retriever, store: str, request_: tuple[str, Any], escaped: bool
) -> None:
    path, body = request_
    content = json.dumps(body, ensure_ascii=escaped).encode(errors="surrogatepass")
    response = retriever.http.post(f"{STORES}/{store}/{path}", content=content, headers=JSON)
    event(f"{path}: {response.status_code}")
    assert response.status_code < 500, response.text
    if response.is_error:
        assert set(response.json()["error"]) == {"message", "type", "code", "param"}


@settings(max_examples=100, deadline=None)
@given(
    path=st.sampled_from(["search", "search/batch", "passages", "passages/get", "passages/delete"]),
    content=st.binary(max_size=200),
)
def test_bytes_that_are_no_request_are_refused(
    retriever: Retriever, store: str, path: str, content: bytes
) -> None:
    response = retriever.http.post(f"{STORES}/{store}/{path}", content=content, headers=JSON)
    assert response.status_code == 400, response.text
    assert response.json()["error"]["code"]
