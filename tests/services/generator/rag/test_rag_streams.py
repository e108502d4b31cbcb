"""Cited answers as server-sent events."""

import json
import time
from typing import Any

import httpx
import pytest

from tests.services.generator.rag.test_rag import ask
from tests.services.generator.upstream import USAGE, Upstream


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    """Name and data of each server-sent event."""
    found = []
    for block in response.text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        data = fields["data"]
        found.append((fields.get("event", ""), data if data == "[DONE]" else json.loads(data)))
    return found


def test_a_stream_gives_passages_first_then_text_then_the_whole_answer(
    generator: str, upstream: Upstream
) -> None:
    upstream.text = ("They are kept", " for 47 days.")
    names, data = zip(*events(ask(generator, stream=True)), strict=True)
    assert names == ("rag.passages", "rag.delta", "rag.delta", "rag.answer", "")
    assert [passage["id"] for passage in data[0]["passages"]] == ["p1", "p2"]
    assert data[1]["delta"] + data[2]["delta"] == "They are kept for 47 days."
    whole = ask(generator).json()
    timings = data[3]["timings"]
    assert 0 < timings["first_token_ms"] < timings["generation_ms"] < timings["total_ms"]
    for changing in ("id", "created", "timings"):
        whole.pop(changing), data[3].pop(changing)
    assert data[3] == whole
    assert data[4] == "[DONE]"


def test_usage_comes_last_where_it_is_asked_for(generator: str) -> None:
    asked = events(ask(generator, stream=True, stream_options={"include_usage": True}))
    assert [name for name, _ in asked[-3:]] == ["rag.answer", "rag.usage", ""]
    assert (asked[-2][1]["usage"], asked[-1][1]) == (USAGE, "[DONE]")
    plain = events(ask(generator, stream=True, stream_options={"include_usage": False}))
    assert [name for name, _ in plain[-2:]] == ["rag.answer", ""]


def test_reasoning_is_streamed_apart_and_without_markers(
    generator: str, upstream: Upstream
) -> None:
    upstream.text = ("##Reason: Passage [1] says so. ##An", "swer: Kept for 47 days.")
    told = events(ask(generator, stream=True))
    assert [(name, data["delta"]) for name, data in told if "delta" in data] == [
        ("rag.reasoning.delta", "Passage [1] says so."),
        ("rag.delta", "Kept for 47 days."),
    ]
    answer = told[-2][1]
    assert (answer["answer"], answer["reasoning"]) == ("Kept for 47 days.", "Passage [1] says so.")
    assert [citation["quote"] for citation in answer["citations"]] == ["kept for 47 days"]


def test_an_answer_that_led_to_another_is_taken_back(generator: str, upstream: Upstream) -> None:
    upstream.text = ("Let me see.", " ##Answer: 47 days.")
    told = events(ask(generator, stream=True))
    assert [(name, data["delta"]) for name, data in told if "delta" in data] == [
        ("rag.delta", "Let me see."),
        ("rag.reset", ""),
        ("rag.delta", "47 days."),
    ]
    assert told[-2][1]["answer"] == "47 days."


@pytest.mark.parametrize("fault", ["cut", "no_done", "malformed"])
def test_a_stream_that_breaks_off_ends_in_an_error(
    generator: str, upstream: Upstream, fault: str
) -> None:
    upstream.fault = fault
    *_, (name, last) = events(ask(generator, stream=True))
    assert name == ""
    assert last["error"]["code"] in ("model_server_broke_off", "model_server_malformed")


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_who_leaves_ends_the_generation(
    generator: str, upstream: Upstream, stream: bool
) -> None:
    upstream.fault = "hang"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{generator}/v1/rag/query",
            json={"question": "Why?", "condition": "closed_book", "stream": stream},
            timeout=httpx.Timeout(5, read=0.5),
        )
    deadline = time.monotonic() + 5
    while upstream.left == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert upstream.left == 1
