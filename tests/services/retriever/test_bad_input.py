"""Every route, asked wrongly: an OpenAI error envelope with a 4xx, never a 500."""

import json
import math
from typing import Any

import pytest

from tests.services.retriever.conftest import Library, Retriever

STORES = "/v1/vector_stores"
HERE = f"{STORES}/{{store}}"

UNIT = [1.0] + [0.0] * 383
FILTER = {"key": "lang", "type": "eq", "value": "en"}

NESTED = (
    b'{"query": "x", "filters": '
    + b'{"type": "and", "filters": [' * 2_000
    + json.dumps(FILTER).encode()
    + b"]}" * 2_000
    + b"}"
)
WIDE: dict[str, Any] = FILTER
for _ in range(3):
    WIDE = {"type": "or", "filters": [WIDE] * 20}

Case = tuple[str, str, Any, int]


def chunking(size: int, overlap: int) -> dict[str, Any]:
    static = {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}
    return {"type": "static", "static": static}


def weights(embedding: Any, text: Any) -> dict[str, Any]:
    return {"hybrid_search": {"embedding_weight": embedding, "text_weight": text}}


CASES: list[Case] = [
    ("POST", STORES, b"", 400),
    ("POST", STORES, b"{", 400),
    ("POST", STORES, b"\xff", 400),
    ("POST", STORES, b"[" * 100_000, 400),
    ("POST", STORES, [], 400),
    ("POST", STORES, {"nam": "x"}, 400),
    ("POST", STORES, {"name": 7}, 400),
    ("POST", STORES, {"name": ""}, 400),
    ("POST", STORES, {"name": "x" * 257}, 400),
    ("POST", STORES, {"name": "\x00"}, 400),
    ("POST", STORES, {"name": "\ud800"}, 400),
    ("POST", STORES, {"metadata": {"k": "v" * 513}}, 400),
    ("POST", STORES, {"metadata": {str(n): "v" for n in range(17)}}, 400),
    ("POST", STORES, {"metadata": {"k": 1}}, 400),
    ("POST", STORES, {"metadata": {"k": "\x00"}}, 400),
    ("POST", STORES, {"metadata": {"\x00": "v"}}, 400),
    ("GET", f"{STORES}?limit=0", None, 400),
    ("GET", f"{STORES}?limit=x", None, 400),
    ("GET", f"{STORES}?limit=99999999999999999999", None, 400),
    ("GET", f"{STORES}?order=up", None, 400),
    ("GET", f"{STORES}?after=%00", None, 400),
    ("GET", f"{STORES}?before=%00", None, 400),
    ("POST", STORES, {"description": "x" * 1_001}, 400),
    ("POST", STORES, {"file_ids": "file_a"}, 400),
    ("POST", STORES, {"file_ids": ["../a"]}, 400),
    ("POST", STORES, {"file_ids": ["file_a"] * 2_001}, 400),
    ("POST", STORES, {"expires_after": {"days": 3}}, 400),
    ("POST", STORES, {"expires_after": {"anchor": "created_at", "days": 3}}, 400),
    ("POST", STORES, {"expires_after": {"anchor": "last_active_at", "days": 0}}, 400),
    ("POST", STORES, {"expires_after": {"anchor": "last_active_at", "days": 366}}, 400),
    ("POST", STORES, {"chunking_strategy": "auto"}, 400),
    ("POST", STORES, {"chunking_strategy": {"type": "other"}}, 400),
    ("POST", STORES, {"chunking_strategy": {"type": "static"}}, 400),
    ("POST", STORES, {"chunking_strategy": chunking(99, 0)}, 400),
    ("POST", STORES, {"chunking_strategy": chunking(4_097, 0)}, 400),
    ("POST", STORES, {"chunking_strategy": chunking(100, 51)}, 400),
    ("POST", STORES, {"chunking_strategy": chunking(100, -1)}, 400),
    ("PUT", STORES, {}, 405),
    ("GET", f"{STORES}/gone", None, 404),
    ("GET", f"{STORES}/%00", None, 400),
    ("GET", f"{STORES}/%ff", None, 404),
    ("POST", f"{STORES}/gone", {"name": "x"}, 404),
    ("POST", HERE, {"name": "\x00"}, 400),
    ("POST", HERE, {"metadata": {"k": None}}, 400),
    ("POST", HERE, {"id": "other"}, 400),
    ("POST", HERE, {"expires_after": {"anchor": "last_active_at", "days": 1.5}}, 400),
    ("DELETE", f"{STORES}/gone", None, 404),
    ("DELETE", f"{STORES}/%00", None, 400),
    ("POST", f"{STORES}/gone/passages", b'{"id":"a","text":"x"}', 404),
    ("POST", f"{STORES}/%00/passages", b'{"id":"a","text":"x"}', 400),
    ("POST", f"{HERE}/passages", b"", 400),
    ("POST", f"{HERE}/passages", b"{}", 400),
    ("POST", f"{HERE}/passages", b"\x00", 400),
    ("POST", f"{HERE}/passages", b'{"id": "a", "text": "\xff"}', 400),
    ("POST", f"{HERE}/passages", b'{"id": "a", "text": ""}', 400),
    ("POST", f"{HERE}/passages", b'{"id": "a", "text": " \\n"}', 400),
    ("POST", f"{HERE}/passages", b'{"id": "a", "text": "x", "attributes": {"n": NaN}}', 400),
    ("POST", f"{HERE}/passages", b'{"id":"a","text":"x"}\n{"id":"b"}', 400),
    ("POST", f"{HERE}/passages", b'{"id":"a","text":"x","embedding":[1,2]}', 400),
    ("GET", f"{HERE}/ingestions/gone", None, 404),
    ("GET", f"{HERE}/ingestions/%00", None, 400),
    ("GET", f"{HERE}/ingestions?limit=-1", None, 400),
    ("GET", f"{STORES}/gone/ingestions", None, 404),
    ("POST", f"{STORES}/gone/ingestions", {"file_id": "{file}"}, 404),
    ("POST", f"{HERE}/ingestions", {}, 400),
    ("POST", f"{HERE}/ingestions", {"file_id": "../x"}, 400),
    ("POST", f"{HERE}/ingestions", {"file_id": "gone"}, 404),
    ("POST", f"{HERE}/ingestions", {"file_id": "gone", "url": "/v1/files/gone/content"}, 400),
    ("POST", f"{HERE}/ingestions", {"url": 7}, 400),
    ("POST", f"{HERE}/ingestions", {"url": "file:///etc/passwd"}, 400),
    ("POST", f"{HERE}/ingestions", {"url": "http://127.0.0.1/latest/meta-data"}, 400),
    ("POST", f"{HERE}/ingestions", {"url": "https://x.example/v1/files/../content"}, 400),
    ("POST", f"{HERE}/ingestions", {"url": "/v1/files/%2e%2e/content"}, 400),
    ("POST", f"{HERE}/ingestions", {"url": "/v1/files/a\x00b/content"}, 400),
    ("POST", f"{HERE}/ingestions/gone/cancel", None, 404),
    ("POST", f"{HERE}/ingestions/%00/cancel", None, 400),
    ("POST", f"{HERE}/ingestions/gone/resume", None, 404),
    ("POST", f"{STORES}/gone/ingestions/gone/resume", None, 404),
    ("POST", f"{STORES}/gone/passages/delete", {"ids": ["a"]}, 404),
    ("POST", f"{HERE}/passages/delete", {}, 400),
    ("POST", f"{HERE}/passages/delete", {"ids": []}, 400),
    ("POST", f"{HERE}/passages/delete", {"ids": ["\x00"]}, 400),
    ("POST", f"{HERE}/passages/delete", {"ids": ["a"], "filters": FILTER}, 400),
    ("POST", f"{HERE}/passages/delete", {"filters": {}}, 400),
    ("POST", f"{HERE}/passages/delete", {"filters": FILTER | {"type": "in"}}, 400),
    ("POST", f"{HERE}/passages/delete", {"filters": FILTER | {"value": "\x00"}}, 400),
    ("POST", f"{STORES}/gone/passages/get", {"ids": ["a"]}, 404),
    ("POST", f"{HERE}/passages/get", {}, 400),
    ("POST", f"{HERE}/passages/get", {"ids": []}, 400),
    ("POST", f"{HERE}/passages/get", {"ids": "a"}, 400),
    ("POST", f"{HERE}/passages/get", {"ids": [1]}, 400),
    ("POST", f"{HERE}/passages/get", {"ids": ["\x00"]}, 400),
    ("POST", f"{HERE}/passages/get", {"ids": ["\udfff"]}, 400),
    ("POST", f"{HERE}/passages/get", {"ids": ["a"] * 10_001}, 400),
    ("GET", f"{HERE}/passages/gone", None, 404),
    ("GET", f"{HERE}/passages/%00", None, 400),
    ("GET", f"{STORES}/gone/passages/a", None, 404),
    ("POST", f"{STORES}/gone/search", {"query": "x"}, 404),
    ("POST", f"{STORES}/%00/search", {"query": "x"}, 400),
    ("POST", f"{HERE}/search", {}, 400),
    ("POST", f"{HERE}/search", {"query": ""}, 400),
    ("POST", f"{HERE}/search", {"query": " \n"}, 400),
    ("POST", f"{HERE}/search", {"query": []}, 400),
    ("POST", f"{HERE}/search", {"query": ["x", ""]}, 400),
    ("POST", f"{HERE}/search", {"query": ["x"] * 17}, 400),
    ("POST", f"{HERE}/search", {"query": 7}, 400),
    ("POST", f"{HERE}/search", {"query": "a\x00b"}, 400),
    ("POST", f"{HERE}/search", {"query": "a\x00b", "mode": "vector"}, 400),
    ("POST", f"{HERE}/search", {"query": "\ud800"}, 400),
    ("POST", f"{HERE}/search", {"query": "x" * 20_001}, 400),
    ("POST", f"{HERE}/search", {"query": "word " * 2**18}, 400),
    ("POST", f"{HERE}/search", b'{"query": "\xff"}', 400),
    ("POST", f"{HERE}/search", b'{"query": "\xed\xa0\x80"}', 400),
    ("POST", f"{HERE}/search", NESTED, 400),
    ("POST", f"{HERE}/search", {"query": "x", "filters": WIDE}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "filters": FILTER | {"value": "\ud800"}}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "filters": FILTER | {"value": math.nan}}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "filters": FILTER | {"value": 10**400}}, 400),
    (
        "POST",
        f"{HERE}/search",
        {"query": "x", "filters": FILTER | {"type": "in", "value": [math.inf]}},
        400,
    ),
    ("POST", f"{HERE}/search", {"query": "x", "filters": FILTER | {"key": "'; --\x00"}}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "max_num_results": 0}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "max_num_results": 51}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "max_num_results": 1e400}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "mode": "magic"}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "rewrite_query": True}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "ranking_options": {"score_threshold": 2}}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "ranking_options": weights(0, 0)}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "ranking_options": weights(-1, 2)}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "ranking_options": weights(1, 1e300)}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "ranking_options": weights(1, None)}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "ranking_options": {"ranker": "mine"}}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "maximum": 3}, 400),
    ("POST", f"{HERE}/search", {"query": "x", "explain": "much"}, 400),
    ("POST", f"{HERE}/search", {"vector": UNIT}, 400),
    ("POST", f"{HERE}/search", {"vector": UNIT, "query": "x", "mode": "text"}, 400),
    ("POST", f"{HERE}/search", {"vector": UNIT, "query": ["x", "y"]}, 400),
    ("POST", f"{HERE}/search", {"vector": UNIT[1:], "mode": "vector"}, 400),
    ("POST", f"{HERE}/search", {"vector": [], "mode": "vector"}, 400),
    ("POST", f"{HERE}/search", {"vector": [0.0] * 384, "mode": "vector"}, 400),
    ("POST", f"{HERE}/search", {"vector": [*UNIT[1:], "1"], "mode": "vector"}, 400),
    ("POST", f"{HERE}/search", {"vector": [*UNIT[1:], 1e400], "mode": "vector"}, 400),
    ("POST", f"{HERE}/search", {"vector": 1, "mode": "vector"}, 400),
    ("POST", f"{STORES}/gone/audit", {}, 404),
    ("POST", f"{STORES}/%00/audit", {}, 400),
    ("POST", f"{HERE}/audit", b"", 400),
    ("POST", f"{HERE}/audit", {"k": 0}, 400),
    ("POST", f"{HERE}/audit", {"k": 51}, 400),
    ("POST", f"{HERE}/audit", {"sample": 1_001}, 400),
    ("POST", f"{HERE}/audit", {"seed": -1}, 400),
    ("POST", f"{HERE}/audit", {"queries": []}, 400),
    ("POST", f"{HERE}/audit", {"queries": [" "]}, 400),
    ("POST", f"{HERE}/audit", {"queries": ["a\x00"]}, 400),
    ("POST", f"{HERE}/audit", {"filters": FILTER}, 400),
    ("POST", f"{HERE}/audit", {"filters": FILTER | {"type": "in"}}, 400),
    ("POST", f"{STORES}/gone/search/batch", {"queries": [{"query": "x"}]}, 404),
    ("POST", f"{HERE}/search/batch", {"queries": []}, 400),
    ("POST", f"{HERE}/search/batch", {"queries": ["x"]}, 400),
    ("POST", f"{HERE}/search/batch", {"queries": [{"query": " "}]}, 400),
    ("POST", f"{HERE}/search/batch", {"queries": [{"query": "x"}] * 1_001}, 400),
    ("POST", f"{HERE}/search/batch", {"queries": [{"query": "x"}], "mode": 1}, 400),
    ("POST", f"{HERE}/search/batch", {"queries": [{}]}, 400),
    ("POST", f"{HERE}/search/batch", {"queries": [{"vector": UNIT}]}, 400),
    ("POST", f"{HERE}/search/batch", {"queries": [{"vector": [1]}], "mode": "vector"}, 400),
    ("POST", f"{STORES}/gone/files", {"file_id": "{file}"}, 404),
    ("POST", f"{HERE}/files", {}, 400),
    ("POST", f"{HERE}/files", {"file_id": 7}, 400),
    ("POST", f"{HERE}/files", {"file_id": "\x00"}, 400),
    ("POST", f"{HERE}/files", {"file_id": "a/../b"}, 400),
    ("POST", f"{HERE}/files", {"file_id": "\ud800"}, 400),
    ("POST", f"{HERE}/files", {"file_id": "{file}", "attributes": {"a": None}}, 400),
    ("POST", f"{HERE}/files", {"file_id": "{file}", "attributes": {"a": [1]}}, 400),
    ("POST", f"{HERE}/files", {"file_id": "{file}", "attributes": {"": 1}}, 400),
    ("POST", f"{HERE}/files", {"file_id": "{file}", "attributes": {"doc_id": "x"}}, 400),
    ("POST", f"{HERE}/files", {"file_id": "{file}", "attributes": {"a": "\x00"}}, 400),
    ("POST", f"{HERE}/files", {"file_id": "{file}", "attributes": {"a": 1e400}}, 400),
    ("POST", f"{HERE}/files", {"file_id": "{file}", "attributes": {"a": "x" * 513}}, 400),
    (
        "POST",
        f"{HERE}/files",
        {"file_id": "{file}", "attributes": {str(n): n for n in range(17)}},
        400,
    ),
    ("POST", f"{HERE}/files", {"file_id": "{file}", "chunking_strategy": chunking(1, 0)}, 400),
    ("GET", f"{STORES}/gone/files", None, 404),
    ("GET", f"{HERE}/files?filter=done", None, 400),
    ("GET", f"{HERE}/files?after=%00", None, 400),
    ("GET", f"{HERE}/files?before=%00", None, 400),
    ("GET", f"{HERE}/files?limit=0", None, 400),
    ("GET", f"{HERE}/files/gone", None, 404),
    ("GET", f"{HERE}/files/%00", None, 400),
    ("GET", f"{STORES}/gone/files/gone", None, 404),
    ("GET", f"{HERE}/files/gone/content", None, 404),
    ("GET", f"{HERE}/files/%00/content", None, 400),
    ("POST", f"{HERE}/files/gone", {"attributes": {}}, 404),
    ("POST", f"{HERE}/files/gone", {}, 400),
    ("POST", f"{HERE}/files/gone", {"attributes": {"a": {}}}, 400),
    ("DELETE", f"{HERE}/files/gone", None, 404),
    ("DELETE", f"{STORES}/gone/files/gone", None, 404),
    ("POST", f"{STORES}/gone/file_batches", {"file_ids": ["{file}"]}, 404),
    ("POST", f"{HERE}/file_batches", {}, 400),
    ("POST", f"{HERE}/file_batches", {"file_ids": []}, 400),
    ("POST", f"{HERE}/file_batches", {"file_ids": ["a"], "files": [{"file_id": "a"}]}, 400),
    ("POST", f"{HERE}/file_batches", {"files": [{"file_id": "a"}], "attributes": {"a": 1}}, 400),
    ("POST", f"{HERE}/file_batches", {"files": [{"id": "a"}]}, 400),
    ("GET", f"{HERE}/file_batches/gone", None, 404),
    ("GET", f"{HERE}/file_batches/%00", None, 400),
    ("GET", f"{STORES}/gone/file_batches/gone", None, 404),
    ("POST", f"{HERE}/file_batches/gone/cancel", None, 404),
    ("GET", f"{HERE}/file_batches/gone/files", None, 404),
    ("GET", f"{HERE}/file_batches/gone/files?filter=all", None, 400),
    ("GET", f"{HERE}/nothing", None, 404),
]


@pytest.fixture(scope="module")
def store(retriever: Retriever) -> str:
    return retriever.fill([{"id": "a", "text": "alpha"}])


@pytest.fixture(scope="module")
def file(library: Library) -> str:
    return library.upload("a.txt", "alpha")


@pytest.mark.parametrize(("method", "path", "body", "status"), CASES, ids=range(len(CASES)))
def test_a_wrong_request_is_answered_with_an_error_that_says_why(
    retriever: Retriever, store: str, file: str, method: str, path: str, body: Any, status: int
) -> None:
    content = body
    if not isinstance(body, bytes | None):
        content = json.dumps(body).replace("{file}", file)
    headers = {"Content-Type": "application/json"}
    url = path.format(store=store)
    response = retriever.http.request(method, url, content=content, headers=headers)
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    assert error["message"]
    assert error["code"]


def test_a_body_over_the_limit_is_refused(retriever: Retriever, store: str) -> None:
    body = json.dumps({"query": "x" * (retriever.settings.max_body_bytes + 1)})
    response = retriever.http.post(f"{STORES}/{store}/search", content=body)
    assert response.status_code == 413


def test_a_body_over_the_limit_is_refused_where_it_does_not_say_its_length(
    retriever: Retriever, store: str
) -> None:
    blocks = (b"x" * 2**20 for _ in range(retriever.settings.max_body_bytes // 2**20 + 1))
    headers = {"Content-Type": "application/json"}
    url = f"{STORES}/{store}/search"
    response = retriever.http.post(url, content=blocks, headers=headers)
    assert response.status_code == 413, response.text


def test_the_table_above_names_every_route(retriever: Retriever) -> None:
    described = retriever.http.get("/openapi.json").json()["paths"]
    routes = {(method.upper(), path) for path, methods in described.items() for method in methods}
    tried = {(method, _template(path)) for method, path, _, _ in CASES}
    assert routes <= tried


def _template(path: str) -> str:
    """The route a path of the table belongs to."""
    parts = path.partition("?")[0].split("/")
    if len(parts) > 3:
        parts[3] = "{store_id}"
    kinds = {"ingestions": "ingestion", "passages": "passage", "files": "file"}
    kind = (kinds | {"file_batches": "batch"}).get(parts[4] if len(parts) > 5 else "")
    if kind and parts[5] not in ("get", "delete"):
        parts[5] = f"{{{kind}_id}}"
    return "/".join(parts)
