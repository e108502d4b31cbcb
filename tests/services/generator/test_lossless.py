"""What vLLM says by itself and what it says through the generator, compared field by field."""

import asyncio
import json
import math
from typing import Any

import httpx
import pytest

from tests.services.generator.adapters.test_keeper import eventually
from tests.services.generator.conftest import BASE, VllmServer

pytestmark = pytest.mark.e2e

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
CAPITAL = {
    "type": "object",
    "properties": {"city": {"type": "string", "enum": ["Paris", "London"]}},
    "required": ["city"],
}
TOOL = {
    "type": "function",
    "function": {"name": "capital", "parameters": CAPITAL, "strict": True},
}
SAMPLED = {"n": 2, "seed": 7, "temperature": 1.0}
USAGE = {"stream_options": {"include_usage": True}}

CASES: dict[str, dict[str, dict[str, Any]]] = {
    CHAT: {
        "n_seed_logprobs": {**SAMPLED, "logprobs": True, "top_logprobs": 2},
        "stop": {"stop": [" capital"], "include_stop_str_in_output": True},
        "logit_bias_token_ids": {"logit_bias": {"100": 100}, "return_token_ids": True},
        "choice": {"structured_outputs": {"choice": ["Paris", "London"]}},
        "json_schema": {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "capital", "schema": CAPITAL},
            }
        },
        "forced_tool": {
            "tools": [TOOL],
            "tool_choice": {"type": "function", "function": {"name": "capital"}},
            "max_tokens": 48,
        },
    },
    COMPLETION: {
        "n_seed_logprobs": {**SAMPLED, "logprobs": 2},
        "echo": {"echo": True},
        "several_prompts_stop": {"prompt": ["One two", "A b c"], "stop": "\n"},
        "pattern": {"structured_outputs": {"regex": "[0-9]{3}"}},
    },
}
STREAMED = {"n_seed_logprobs", "stop", "forced_tool"}
RANDOM = {"id", "created"}
"""Fields that vLLM draws or reads off the clock; a tool call's ``id`` is one of them."""


def body(route: str, changes: dict[str, Any]) -> bytes:
    asked: dict[str, Any] = {"model": BASE, "max_tokens": 4, "temperature": 0}
    if route == CHAT:
        asked["messages"] = [{"role": "user", "content": "What is the capital of France?"}]
    else:
        asked["prompt"] = "The capital of France is"
    return json.dumps(asked | changes).encode()


def certain(said: Any) -> Any:
    """Without what differs between two answers to the same request."""
    if isinstance(said, dict):
        return {key: certain(value) for key, value in said.items() if key not in RANDOM}
    return [certain(item) for item in said] if isinstance(said, list) else said


def alike(one: Any, other: Any) -> bool:
    """Equal; log-probabilities (nats) but for what rounding makes of other work in the batch."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, abs_tol=1e-3)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def post(url: str, route: str, content: bytes) -> httpx.Response:
    headers = {"Content-Type": "application/json"}
    response = httpx.post(url + route, content=content, headers=headers, timeout=300)
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize("route", [CHAT, COMPLETION])
def test_answers_are_those_that_vllm_gives_itself(
    real_generator: str, vllm_server: VllmServer, route: str
) -> None:
    for case, changes in CASES[route].items():
        content = body(route, changes)
        bare, through = (post(url, route, content) for url in (vllm_server.url, real_generator))
        assert alike(certain(through.json()), certain(bare.json())), case
        assert through.headers["content-type"] == bare.headers["content-type"]


def told(response: httpx.Response) -> Any:
    """What a stream says of each choice, and of all. vLLM cuts it into pieces as it has time."""
    *events, done = response.text.strip().split("\n\n")
    assert done == "data: [DONE]"
    choices: dict[int, dict[str, Any]] = {}
    rest: dict[str, Any] = {}
    for event in events:
        chunk = json.loads(event.removeprefix("data: "))
        for choice in chunk.pop("choices"):
            join(choices.setdefault(choice.pop("index"), {}), certain(choice))
        rest |= certain(chunk)
    return choices, rest


def join(whole: dict[str, Any], piece: dict[str, Any]) -> None:
    for key, value in piece.items():
        if isinstance(value, dict):
            whole[key] = whole.get(key) or {}
            join(whole[key], value)
        elif key == "tool_calls" and value:
            calls = whole[key] = whole.get(key) or {}
            for call in value:
                join(calls.setdefault(call.pop("index"), {}), call)
        elif isinstance(value, str | list) and whole.get(key) is not None and key != "role":
            whole[key] += value
        elif value is not None or key not in whole:
            whole[key] = value


@pytest.mark.parametrize("route", [CHAT, COMPLETION])
def test_streams_say_what_vllm_says_itself(
    real_generator: str, vllm_server: VllmServer, route: str
) -> None:
    for case in STREAMED & CASES[route].keys():
        content = body(route, {**CASES[route][case], "stream": True, **USAGE})
        bare, through = (
            told(post(url, route, content)) for url in (vllm_server.url, real_generator)
        )
        assert alike(through, bare), case
        assert through[1]["usage"]["completion_tokens"] > 0


LONG = "Tell me a very long story about a dragon, with every detail."
ASKED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": LONG}], "ignore_eos": True},
    COMPLETION: {"prompt": LONG, "ignore_eos": True},
    "/v1/rag/query": {"question": LONG, "condition": "closed_book"},
}


def at_work(server: VllmServer) -> tuple[float, float]:
    """Requests that vLLM is generating for, and those that it has finished, as it counts them."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()

    def total(name: str) -> float:
        return sum(float(line.split()[-1]) for line in lines if line.startswith(f"{name}{{"))

    return total("vllm:num_requests_running"), total("vllm:request_success_total")


@pytest.mark.parametrize("route", ASKED)
async def test_vllm_stops_when_its_caller_leaves(
    real_generator: str, vllm_server: VllmServer, route: str
) -> None:
    for stream in (True, False):
        _, finished = at_work(vllm_server)
        asked = {"model": BASE, "max_tokens": 3_000, "stream": stream, **ASKED[route]}
        async with httpx.AsyncClient(timeout=300) as client:
            asking = asyncio.create_task(client.post(real_generator + route, json=asked))
            while at_work(vllm_server)[0] == 0:
                assert not asking.done()
                await asyncio.sleep(0.05)
            asking.cancel()
        eventually(lambda: at_work(vllm_server)[0] == 0, seconds=60)
        assert at_work(vllm_server)[1] == finished, "the answer was generated to its end"
