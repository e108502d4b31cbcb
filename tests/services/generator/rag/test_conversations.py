"""What a RAG question can bring along: a conversation, a template, and how passages are found."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.common.prompts import TEMPLATE_SHA256, render_messages
from tests.services.generator.conftest import StartGenerator, serving
from tests.services.generator.rag.test_rag import MESSAGES, PASSAGES, QUESTION
from tests.services.generator.upstream import Upstream

TALK = [
    {"role": "user", "content": "Are there logs?"},
    {"role": "assistant", "content": "There are."},
]
ASKED = {"role": "user", "content": QUESTION}


def ask(generator: str, **body: Any) -> httpx.Response:
    return httpx.post(f"{generator}/v1/rag/query", json=body, timeout=30)


def prompt(upstream: Upstream) -> list[dict[str, str]]:
    """The messages that the model was asked with last."""
    messages: list[dict[str, str]] = json.loads(upstream.bodies[-1])["messages"]
    return messages


def test_a_conversation_comes_before_its_question(generator: str, upstream: Upstream) -> None:
    answer = ask(generator, messages=[*TALK, ASKED], passages=PASSAGES).json()
    assert prompt(upstream) == [MESSAGES[0], *TALK, MESSAGES[1]]
    assert answer["template_sha256"] == TEMPLATE_SHA256


def test_a_system_message_stands_in_place_of_ours(generator: str, upstream: Upstream) -> None:
    system = {"role": "system", "content": "Answer in Latin."}
    ask(generator, messages=[system, ASKED], passages=PASSAGES)
    assert prompt(upstream) == [system, MESSAGES[1]]
    ask(generator, messages=[system, *TALK, ASKED], condition="closed_book")
    assert prompt(upstream) == [system, *TALK, render_messages(QUESTION)[1]]


def test_one_message_is_the_same_as_a_question(generator: str, upstream: Upstream) -> None:
    for asked in ({"question": QUESTION}, {"messages": [ASKED]}):
        ask(generator, passages=PASSAGES, **asked)
        assert prompt(upstream) == MESSAGES


def test_what_does_not_fit_is_named_with_its_tokens(generator: str, upstream: Upstream) -> None:
    long = [{"role": role, "content": "word " * 30} for role in ("user", "assistant")] * 3
    passages = [{"id": f"p{n}", "text": "word " * 100} for n in range(1, 5)]
    system = {"role": "system", "content": "Be brief."}
    messages = [system, *long, ASKED]
    answer = ask(generator, messages=messages, passages=passages, max_tokens=100).json()
    packing = answer["packing"]
    assert (packing["window"], packing["max_tokens"]) == (512, 100)
    assert packing["left_out"] == [
        {"type": kind, "id": out, "reason": "context_window"}
        for kind, out in [
            *(("message", f"messages[{n}]") for n in range(1, 5)),
            ("passage", "p4"),
        ]
    ]
    assert answer["left_out"] == ["p4"]
    assert packing["left_out_tokens"] == 4 * 30 + 101  # and the number before the passage
    assert prompt(upstream)[1:-1] == long[4:]


def test_a_template_of_the_callers_own_words_the_question(
    generator: str, upstream: Upstream
) -> None:
    template = 'Q: {question}\nReply as {"answer": …}.\n\n{passages}'
    answer = ask(
        generator, messages=[*TALK, ASKED], passages=PASSAGES, prompt_template=template
    ).json()
    *before, last = prompt(upstream)
    assert before == [MESSAGES[0], *TALK]
    assert last["content"] == (
        f'Q: {QUESTION}\nReply as {{"answer": …}}.\n\n'
        "[1] Retention\nAudit logs are kept for 47 days.\n\n[2]\nInvoices are kept for ten years."
    )
    assert answer["template_sha256"] == hashlib.sha256(template.encode()).hexdigest()


def test_texts_cannot_reach_into_a_template(generator: str, upstream: Upstream) -> None:
    sly = "{passages} {question.__class__} {{ 7 * 7 }} %s"
    passages = [{"id": "p1", "text": sly}]
    ask(generator, question=sly, passages=passages, prompt_template="{passages}|{question}")
    assert prompt(upstream)[-1]["content"] == f"[1]\n{sly}|{sly}"


CLOSED = {"condition": "closed_book"}
WRONG: list[tuple[dict[str, Any], str]] = [
    (CLOSED, "either question or messages"),
    ({"question": "Why?", "messages": [ASKED], **CLOSED}, "either question or messages"),
    ({"messages": TALK, **CLOSED}, "the user's question"),
    ({"messages": [ASKED, {"role": "system", "content": "x"}, ASKED], **CLOSED}, "only the first"),
    ({"messages": [{"role": "tool", "content": "x"}], **CLOSED}, "role"),
    ({"messages": [{"role": "user", "content": "x" * 20_001}], **CLOSED}, "20000 characters"),
    ({"messages": [], **CLOSED}, "messages"),
    ({"question": "?", "passages": PASSAGES, "prompt_template": "{question}"}, "{passages}"),
    ({"question": "?", "passages": PASSAGES, "prompt_template": "{passages}"}, "{question}"),
    ({"question": "?", "prompt_template": "{passages} {question}", **CLOSED}, "{passages}"),
    ({"question": "?", "prompt_template": "{context} {question}", **CLOSED}, "{context}"),
    ({"question": "?", "prompt_template": "{question}" * 9_999, **CLOSED}, "prompt_template"),
    ({"question": "?", "stream_options": {"include_usage": True}, **CLOSED}, "stream: true"),
    ({"question": "?", "top_k": 51, **CLOSED}, "top_k"),
    ({"question": "?", "top_k": 5, "max_num_results": 5, **CLOSED}, "max_num_results"),
]


def test_what_makes_no_sense_is_refused_with_a_reason(generator: str, upstream: Upstream) -> None:
    for body, says in WRONG:
        response = ask(generator, **body)
        assert response.status_code == 400, body
        assert says in response.json()["error"]["message"]
    assert upstream.bodies == []


@dataclass
class Store:
    """In place of the retriever: finds one passage, and keeps what it was asked."""

    asked: list[Any] = field(default_factory=list)
    url: str = ""

    async def search(self, request: Request) -> Response:
        self.asked.append(await request.json())
        result = {
            "file_id": "d1",
            "filename": "Retention",
            "score": 0.75,
            "attributes": None,
            "content": [{"type": "text", "text": "Audit logs are kept for 47 days."}],
            "passage_id": "p1",
            "doc_id": "d1",
            "title": "Retention",
        }
        return JSONResponse({"search_query": [QUESTION], "data": [result]})


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    routes = [Route("/v1/vector_stores/vs_1/search", store.search, methods=["POST"])]
    with serving(Starlette(routes=routes)) as store.url:
        yield store


@pytest.mark.parametrize("name", ["top_k", "max_num_results"])
def test_passages_are_looked_for_by_the_last_question(
    start_generator: StartGenerator, upstream: Upstream, store: Store, name: str
) -> None:
    upstream.text = ("They are kept", " for 47 days.")
    url = start_generator(upstream.url, retriever_url=store.url)
    only = {"key": "site", "type": "eq", "value": "Tilburg"}
    body = {"messages": [*TALK, ASKED], "vector_store_id": "vs_1", "filters": only, name: 7}
    answer = ask(url, **body).json()
    (asked,) = store.asked
    assert (asked["query"], asked["max_num_results"], asked["filters"]) == (QUESTION, 7, only)
    (passage,) = answer["passages"]
    assert (passage["id"], passage["doc_id"], passage["score"]) == ("p1", "d1", 0.75)
    (citation,) = answer["citations"]
    span = passage["text"][citation["passage_start"] : citation["passage_end"]]
    assert span == citation["quote"] == "are kept for 47 days"
