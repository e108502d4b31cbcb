"""Cited answers, before a model server that says what a test wants it to say."""

import hashlib
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.common.prompts import render_messages
from tests.services.generator.conftest import StartGenerator, serving
from tests.services.generator.upstream import USAGE, Upstream

QUESTION = "For how long are audit logs kept?"
PASSAGES = [
    {"id": "p1", "title": "Retention", "text": "Audit logs are kept for 47 days.", "score": 0.5},
    {"id": "p2", "doc_id": "d2", "text": "Invoices are kept for ten years."},
]
ASK = {"question": QUESTION, "condition": "oracle", "passages": PASSAGES}


class Given:
    """A passage as the prompt template sees it."""

    def __init__(self, passage: dict[str, Any]) -> None:
        self.title = str(passage.get("title", ""))
        self.text = str(passage["text"])


MESSAGES = render_messages(QUESTION, [Given(passage) for passage in PASSAGES])


def ask(generator: str, **changes: Any) -> httpx.Response:
    return httpx.post(f"{generator}/v1/rag/query", json=ASK | changes, timeout=30)


def test_an_answer_brings_its_passages_citations_and_prompt(
    generator: str, upstream: Upstream
) -> None:
    upstream.text = ("They are kept", " for 47 days.")
    answer = ask(generator, max_tokens=40, temperature=0.5, seed=3).json()
    assert answer["object"] == "rag.answer"
    assert answer["answer"] == "They are kept for 47 days."
    assert (answer["condition"], answer["finish_reason"]) == ("oracle", "stop")
    assert [(p["index"], p["id"], p["doc_id"]) for p in answer["passages"]] == [
        (1, "p1", None),
        (2, "p2", "d2"),
    ]
    (citation,) = answer["citations"]
    assert answer["answer"][citation["start"] : citation["end"]] == "are kept for 47 days"
    assert citation["quote"] == "are kept for 47 days"
    assert (answer["left_out"], answer["usage"], answer["adapter_sha256"]) == ([], USAGE, None)
    stages = ("retrieval_ms", "packing_ms", "generation_ms", "citing_ms")
    timings = answer["timings"]
    assert 0 < sum(timings[stage] for stage in stages) <= timings["total_ms"]
    assert timings["first_token_ms"] is None  # it came in one piece
    sent = json.loads(upstream.bodies[-1])
    assert sent["messages"] == MESSAGES
    assert (sent["max_tokens"], sent["temperature"], sent["seed"]) == (40, 0.5, 3)
    canonical = json.dumps(MESSAGES, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    assert answer["prompt_sha256"] == hashlib.sha256(canonical.encode()).hexdigest()


def test_closed_book_gives_the_model_the_question_alone(generator: str, upstream: Upstream) -> None:
    answer = ask(generator, condition="closed_book", passages=None).json()
    assert (answer["passages"], answer["citations"]) == ([], [])
    assert json.loads(upstream.bodies[-1])["messages"] == render_messages(QUESTION)


def test_passages_beyond_the_window_are_left_out_and_named(
    generator: str, upstream: Upstream
) -> None:
    passages = [{"id": f"p{n}", "text": "word " * 100} for n in range(1, 9)]
    answer = ask(generator, passages=passages, max_tokens=100).json()
    used = [passage["id"] for passage in answer["passages"]]
    assert used == ["p1", "p2", "p3"]  # of a window of 512 words
    assert answer["left_out"] == ["p4", "p5", "p6", "p7", "p8"]
    assert "[3]" in upstream.bodies[-1].decode()
    assert "[4]" not in upstream.bodies[-1].decode()


def test_reasoning_is_told_apart_from_the_answer_it_leads_to(
    generator: str, upstream: Upstream
) -> None:
    upstream.text = ("##Reason: Passage [1] says so. ##An", "swer: Kept for 47 days.")
    answer = ask(generator).json()
    assert answer["answer"] == "Kept for 47 days."
    assert answer["reasoning"] == "Passage [1] says so."
    assert [citation["quote"] for citation in answer["citations"]] == ["kept for 47 days"]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("refuse", 400, "invalid_request"),
        ("broken", 502, "model_server_failed"),
        ("malformed", 502, "model_server_malformed"),
    ],
)
def test_what_goes_wrong_in_vllm_is_typed(
    generator: str, upstream: Upstream, fault: str, status: int, code: str
) -> None:
    upstream.fault = fault
    response = ask(generator)
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_a_retriever_that_hangs_is_a_504(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    async def hang(request: Request) -> Response:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        return Response()

    app = Starlette(routes=[Route("/v1/vector_stores/{id}/search", hang, methods=["POST"])])
    with serving(app) as store:
        url = start_generator(upstream.url, retriever_url=store, retrieval_timeout_seconds=0.3)
        ask = {"question": "Why?", "vector_store_id": "vs_1"}
        for stream in (True, False):
            response = httpx.post(f"{url}/v1/rag/query", json={**ask, "stream": stream})
            assert response.status_code == 504
            assert response.json()["error"]["code"] == "retrieval_timeout"
    assert upstream.bodies == []


@pytest.mark.parametrize("stream", [True, False])
def test_without_the_retriever_a_question_to_a_store_is_a_503(
    start_generator: StartGenerator, upstream: Upstream, stream: bool
) -> None:
    url = start_generator(upstream.url, retriever_url="http://127.0.0.1:9")
    body = {"question": QUESTION, "vector_store_id": "vs_1", "stream": stream}
    response = httpx.post(f"{url}/v1/rag/query", json=body, timeout=30)
    assert response.status_code == 503
    assert "retriever" in response.json()["error"]["message"]
    assert ask(url).status_code == 200
