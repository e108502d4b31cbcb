"""Whatever is sent to any route: a 4xx in OpenAI's envelope, or an answer. Never a 500."""

import json

import httpx

from tests.services.generator.conftest import BASE

BODIES: tuple[bytes, ...] = (
    b"",
    b"{",
    b"null",
    b"[]",
    b"7",
    b"\xff\xfe\x00",
    b'{"name": "\\ud800"}',
    b"[" * 100_000,
    b'{"a": ' * 50_000,
    b'{"name": 1e999}',
)
PASSAGES = [{"id": "p1", "text": "Some text."}]
RAG_FAULTS: tuple[dict[str, object], ...] = (
    {},
    {"question": ""},
    {"question": "x" * 20_001, "condition": "closed_book"},
    {"question": "Why?"},
    {"question": "Why?", "condition": "oracle"},
    {"question": "Why?", "condition": "closed_book", "passages": PASSAGES},
    {"question": "Why?", "passages": PASSAGES, "vector_store_id": "vs_1"},
    {"question": "Why?", "passages": [{"id": "p1"}]},
    {"question": "Why?", "passages": [{"id": "", "text": "x"}]},
    {"question": "Why?", "passages": PASSAGES, "max_tokens": 0},
    {"question": "Why?", "passages": PASSAGES, "max_tokens": 30_000},
    {"question": "Why?", "passages": PASSAGES, "temperature": -1},
    {"question": "Why?", "passages": PASSAGES, "temperature": "hot"},
    {"question": "Why?", "passages": PASSAGES, "model": 7},
    {"question": "Why?", "passages": PASSAGES, "model": "gpt-4"},
    {"question": "Why?", "passages": PASSAGES, "model": "ft:\x00"},
    {"question": "Why?", "passages": PASSAGES, "sead": 1},
    {"question": "Why?", "passages": PASSAGES, "seed": -1},
    {"question": "Why?", "passages": [{"id": "p", "text": "word " * 9_000}]},
    {"question": "word " * 3_000, "condition": "closed_book"},
    *(
        {"question": "Why?", "vector_store_id": id}
        for id in ("..", "a/b", "vs?x", "vs#x", "%2e%2e")
    ),
    {"question": "Why?", "vector_store_id": "vs_1", "filters": {"type": "eq"}},
    {"question": "Why?", "vector_store_id": "vs_1", "filters": {"type": "and", "filters": []}},
)
NAMES = ("x", "ft:a:b:c", "ft:a:b:%00", "ft:%ed%a0%80", "a%2Fb", "..%2f..", "ft:" + "x" * 3_000)


def assert_refused(response: httpx.Response, what: object) -> None:
    assert 400 <= response.status_code < 500, (what, response.status_code, response.text[:300])
    assert set(response.json()["error"]) == {"message", "type", "code", "param"}, what
    assert response.json()["error"]["message"], what


def test_bodies_that_are_no_request(generator: str) -> None:
    routes = ("chat/completions", "completions", "rag/query", "responses", "adapters")
    for route in (*routes, "adapters/aliases"):
        for body in BODIES:
            headers = {"Content-Type": "application/json"}
            response = httpx.post(f"{generator}/v1/{route}", content=body, headers=headers)
            assert_refused(response, (route, body[:20]))


def test_questions_that_make_no_sense(generator: str) -> None:
    for fault in RAG_FAULTS:
        for stream in (False, True):
            body = json.dumps({**fault, "stream": stream})
            headers = {"Content-Type": "application/json"}
            response = httpx.post(f"{generator}/v1/rag/query", content=body, headers=headers)
            assert_refused(response, fault)


def test_names_of_adapters_and_models_that_are_none(generator: str) -> None:
    for name in NAMES:
        assert_refused(httpx.get(f"{generator}/v1/models/{name}"), name)
        assert_refused(httpx.get(f"{generator}/v1/adapters/{name}"), name)
        assert_refused(httpx.delete(f"{generator}/v1/adapters/{name}"), name)
        assert_refused(httpx.delete(f"{generator}/v1/models/{name}"), name)
        assert_refused(httpx.get(f"{generator}/v1/adapters/aliases/{name}"), name)
        assert_refused(httpx.delete(f"{generator}/v1/adapters/aliases/{name}"), name)
    for name in ("x", "ft:a:b:c", "ft:\x00", "ft:\ud800", "a/b", "..", "", 7, None, BASE):
        body = json.dumps({"name": name})
        headers = {"Content-Type": "application/json"}
        response = httpx.post(f"{generator}/v1/adapters", content=body, headers=headers)
        assert_refused(response, name)


def test_cursors_and_methods_that_do_not_exist(generator: str) -> None:
    for query in ("limit=0", "limit=x", "limit=99999", "after=%00", "order=up"):
        assert_refused(httpx.get(f"{generator}/v1/adapters?{query}"), query)
    assert httpx.get(f"{generator}/v1/adapters?after=nosuch").status_code == 200
    assert_refused(httpx.put(f"{generator}/v1/models"), "PUT")
    assert_refused(httpx.get(f"{generator}/v1/chat/completions"), "GET")
    assert_refused(httpx.post(f"{generator}/v1/nothing"), "unknown")


def test_a_body_over_the_limit_is_a_413(generator: str) -> None:
    body = json.dumps({"model": BASE, "prompt": "x" * 17 * 2**20})
    response = httpx.post(f"{generator}/v1/completions", content=body)
    assert response.status_code == 413
    assert_refused(response, "large")
