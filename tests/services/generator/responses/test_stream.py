"""Answers as OpenAI's typed events, in the order its clients want them in."""

import time
from typing import Any

import httpx
import pytest

from tests.services.generator.conftest import StartGenerator
from tests.services.generator.responses.conftest import QUESTION, Ask, events, tool
from tests.services.generator.upstream import Upstream

SEARCHED = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
    "response.file_search_call.completed",
    "response.output_item.done",
]
REASONED = [
    "response.output_item.added",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.output_item.done",
]
SAID = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.annotation.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
CALLED = [
    "response.function_call_arguments.done",
    "response.output_item.done",
]


def types(told: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in told]


def without(response: dict[str, Any]) -> dict[str, Any]:
    """But for what differs each time."""
    changing = ("id", "created_at", "completed_at")
    items = [{k: v for k, v in item.items() if k != "id"} for item in response["output"]]
    return {k: v for k, v in response.items() if k not in changing} | {"output": items}


def test_a_searched_answer_is_told_from_the_search_to_its_citations(
    ask: Ask, upstream: Upstream
) -> None:
    upstream.text = ("They are kept", " for 47 days.")
    told = events(ask(tools=[tool()], stream=True, include=["file_search_call.results"]))
    assert types(told) == [*SEARCHED, *SAID, "response.completed"]
    assert told[0]["response"]["status"] == "in_progress"
    assert told[0]["response"]["output"] == []
    assert told[2]["item"]["status"] == "in_progress"
    assert told[2]["item"]["results"] is None
    assert len(told[6]["item"]["results"]) == 2
    assert told[9]["delta"] + told[10]["delta"] == told[12]["text"] == "They are kept for 47 days."
    final = told[-1]["response"]
    assert told[11]["annotation"] == final["output"][1]["content"][0]["annotations"][0]
    assert told[13]["part"] == final["output"][1]["content"][0]
    assert [told[6]["item"], told[14]["item"]] == final["output"]
    message = {event["item_id"] for event in told[8:14]}
    assert message == {final["output"][1]["id"]}


@pytest.mark.parametrize("finish_reason", ["stop", "length"])
def test_a_streamed_answer_is_the_one_that_is_not_streamed(
    ask: Ask, upstream: Upstream, finish_reason: str
) -> None:
    upstream.finish_reason = finish_reason
    upstream.text = ("##Reason: Passage [1].\n##Ans", "wer: Kept for 47 days.")
    upstream.calls = [("add", '{"a": 1}')]
    asked = {"tools": [tool(), {"type": "function", "name": "add"}]}
    last = events(ask(**asked, stream=True))[-1]
    assert last["type"] == f"response.{last['response']['status']}"
    assert last["response"]["status"] == ("completed" if finish_reason == "stop" else "incomplete")
    whole = without(ask(**asked).json())
    streamed = without(last["response"])
    kinds = ["file_search_call", "reasoning", "message", "function_call"]
    for response in (whole, streamed):
        response["output"].sort(key=lambda item: kinds.index(item["type"]))
    assert streamed == whole


def test_reasoning_and_calls_have_events_of_their_own(ask: Ask, upstream: Upstream) -> None:
    upstream.text = ("##Reason: So.##Answer: Kept for", " 47 days.")
    upstream.calls = [("add", '{"a": 1}')]
    asked = [tool(), {"type": "function", "name": "add"}]
    told = events(ask(tools=asked, stream=True))
    begun = ["response.output_item.added", "response.function_call_arguments.delta"]
    assert types(told) == [
        *SEARCHED,
        *REASONED,
        *SAID[:3],
        *begun,
        *SAID[3:],
        *CALLED,
        "response.completed",
    ]
    done = next(e for e in told if e["type"] == "response.function_call_arguments.done")
    assert (done["name"], done["arguments"]) == ("add", '{"a": 1}')


@pytest.mark.parametrize("fault", ["cut", "no_done", "malformed"])
def test_a_stream_that_breaks_off_ends_in_response_failed(
    ask: Ask, upstream: Upstream, fault: str
) -> None:
    upstream.fault = fault
    last = events(ask(tools=[tool()], stream=True))[-1]
    assert last["type"] == "response.failed"
    response = last["response"]
    assert (response["status"], response["error"]["code"]) == ("failed", "server_error")
    assert response["error"]["reason"] in ("model_server_broke_off", "model_server_malformed")
    assert response["output"][0]["status"] == "completed"
    assert response["output"][1]["status"] == "incomplete"
    assert response["output"][1]["content"][0]["text"].startswith("Hello")


def test_a_silent_model_ends_in_response_failed(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    upstream.fault = "hang"
    url = start_generator(upstream.url, request_timeout_seconds=0.3)
    response = httpx.post(f"{url}/v1/responses", json={"input": QUESTION, "stream": True})
    assert events(response)[-1]["response"]["error"]["reason"] == "model_server_timeout"


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_who_leaves_ends_the_generation(
    url: str, upstream: Upstream, stream: bool
) -> None:
    upstream.fault = "hang"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{url}/v1/responses",
            json={"input": QUESTION, "tools": [tool()], "stream": stream},
            timeout=httpx.Timeout(5, read=0.3),
        )
    deadline = time.monotonic() + 5
    while upstream.left == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert upstream.left == 1
