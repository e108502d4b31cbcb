"""Cited answers, before a model server that says what a test wants it to say."""

import hashlib
import json
from typing import Any

import httpx
import pytest

from services.common.prompts import render_messages
from tests.services.generator.conftest import StartGenerator
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


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """Name and data of each server-sent event."""
    found = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


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


def test_a_stream_gives_passages_first_then_text_then_the_whole_answer(
    generator: str, upstream: Upstream
) -> None:
    upstream.text = ("They are kept", " for 47 days.")
    names, data = zip(*events(ask(generator, stream=True)), strict=True)
    assert names == ("rag.passages", "rag.delta", "rag.delta", "rag.answer", "")
    assert [passage["id"] for passage in data[0]["passages"]] == ["p1", "p2"]
    assert data[1]["delta"] + data[2]["delta"] == "They are kept for 47 days."
    whole = ask(generator).json()
    for changing in ("id", "created", "timings"):
        whole.pop(changing), data[3].pop(changing)
    assert data[3] == whole
    assert data[4] == "[DONE]"


@pytest.mark.parametrize("fault", ["cut", "no_done", "malformed"])
def test_a_stream_that_breaks_off_ends_in_an_error(
    generator: str, upstream: Upstream, fault: str
) -> None:
    upstream.fault = fault
    *_, (name, last) = events(ask(generator, stream=True))
    assert name == ""
    assert last["error"]["code"] in ("model_server_broke_off", "model_server_malformed")


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
