"""What cannot be had is refused before a stream begins, by its name and in a sentence."""

import json
from typing import Any

import httpx
import pytest

from tests.services.generator.adapters.shelf import Shelf
from tests.services.generator.conftest import StartGenerator
from tests.services.generator.responses.conftest import QUESTION, Ask, tool
from tests.services.generator.upstream import Upstream


def said(*content: Any, **fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(content), **fields}]}


NOT_HAD: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"previous_response_id": "resp_1"}, "previous_response_id", "not kept here"),
    ({"conversation": {"id": "conv_1"}}, "conversation", "not kept here"),
    ({"background": True}, "background", "while you wait"),
    ({"prompt": {"id": "pmpt_1"}}, "prompt", "not kept here"),
    ({"truncation": "auto"}, "truncation", "never cut"),
    ({"reasoning": {"effort": "low"}}, "reasoning", "cannot be set"),
    ({"top_logprobs": 3}, "top_logprobs", "/v1/chat/completions"),
    ({"include": ["reasoning.encrypted_content"]}, "include.0", "file_search_call.results"),
    ({"tools": [{"type": "web_search"}]}, "tools.0", "'web_search'"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools.0", "'mcp'"),
    ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0", "'item_reference'"),
    (said({"type": "input_image", "image_url": "x"}), "content.0", "'input_image'"),
)
WRONG: tuple[tuple[dict[str, Any], str], ...] = (
    ({"input": []}, "input"),
    ({"input": None}, "input"),
    ({"input": 7}, "input"),
    ({"input": [7]}, "input.0"),
    ({"input": [{"role": "king", "content": "x"}]}, "role"),
    ({"input": [{"role": "user"}]}, "content"),
    (said({"type": "input_text"}), "text"),
    ({"input": [{"type": "function_call", "name": "f"}]}, "call_id"),
    ({"inputs": "x"}, "inputs"),
    ({"model": 7}, "model"),
    ({"temperature": 3}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"max_output_tokens": 0}, "max_output_tokens"),
    ({"metadata": {"k": "v" * 600}}, "metadata"),
    ({"text": {"format": {"type": "xml"}}}, "text.format"),
    ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "schema"),
    ({"tools": [{}]}, "tools.0"),
    ({"tools": [7]}, "tools.0"),
    ({"tools": [{"type": "file_search"}]}, "vector_store_ids"),
    ({"tools": [tool("../files")]}, "vector_store_ids.0"),
    ({"tools": [tool("vs?1")]}, "vector_store_ids.0"),
    ({"tools": [tool(*map(str, range(9)))]}, "vector_store_ids"),
    ({"tools": [tool(max_num_results=51)]}, "max_num_results"),
    ({"tools": [tool(filters={"type": "eq"})]}, "filters"),
    ({"tools": [tool(ranking_options={"hybrid_search": {}})]}, "ranking_options"),
    ({"tools": [tool(), tool()]}, "tools"),
    ({"tools": [tool()], "input": " "}, "input"),
    ({"tools": [tool()], "input": "x" * 20_001}, "input"),
    ({"tools": [tool()], "input": [{"role": "system", "content": "x"}]}, "input"),
    ({"tools": [tool()], "max_output_tokens": 4_000}, "max_output_tokens"),
    ({"tools": [tool()], "input": "word " * 600}, "input"),
    ({"input": [1] * 10_001}, "input"),
    ({"tool_choice": "required"}, "tools"),
    ({"tool_choice": "maybe"}, "tool_choice"),
    ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
    ({"tool_choice": {"type": "function", "name": "f"}, "tools": [tool()]}, "tool_choice"),
)


def refusal(response: httpx.Response, status: int = 400) -> dict[str, Any]:
    assert response.status_code == status, response.text[:300]
    assert response.headers["content-type"] == "application/json"
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    return error


def test_what_is_not_had_here_is_refused_by_its_name(ask: Ask, upstream: Upstream) -> None:
    for asked, param, sentence in NOT_HAD:
        for stream in (False, True):
            error = refusal(ask(**{"input": QUESTION, **asked}, stream=stream))
            assert error["code"] == "unsupported_parameter", asked
            assert error["param"].endswith(param), (asked, error)
            assert sentence in error["message"], (asked, error)
    assert upstream.bodies == []


def test_what_makes_no_sense_is_refused_with_the_field_at_fault(ask: Ask) -> None:
    for asked, param in WRONG:
        error = refusal(ask(**{"input": QUESTION, **asked}))
        assert param in error["param"], (asked, error)


def test_what_asks_for_nothing_special_is_taken(ask: Ask) -> None:
    harmless = {
        "background": False,
        "truncation": "disabled",
        "previous_response_id": None,
        "reasoning": None,
        "top_logprobs": 0,
        "service_tier": "auto",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "store": False,
        "include": [],
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "parallel_tool_calls": None,
        "stream": None,
        "metadata": None,
    }
    assert ask(**harmless).status_code == 200


@pytest.mark.parametrize("stream", [True, False])
def test_what_goes_wrong_before_the_first_word_has_a_status(
    ask: Ask, upstream: Upstream, stream: bool
) -> None:
    unknown = refusal(ask(tools=[tool("vs_1", "vs_9")], stream=stream), 404)
    assert "vs_9" in unknown["message"]
    assert refusal(ask(model="gpt-4", stream=stream), 404)["code"] == "model_not_found"
    upstream.fault = "refuse"
    assert refusal(ask(stream=stream))["message"] == "Not like that."
    upstream.fault = "broken"
    assert refusal(ask(stream=stream), 502)["code"] == "model_server_failed"


def test_an_answer_that_cannot_be_read_is_a_502(ask: Ask, upstream: Upstream) -> None:
    upstream.fault = "malformed"
    assert refusal(ask(), 502)["code"] == "model_server_malformed"


def test_without_the_retriever_only_a_search_is_a_503(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    url = start_generator(upstream.url, retriever_url="http://127.0.0.1:9")
    body: dict[str, Any] = {"input": QUESTION, "tools": [tool()]}
    error = refusal(httpx.post(f"{url}/v1/responses", json=body, timeout=30), 503)
    assert "retriever" in error["message"]
    body["tool_choice"] = "none"
    assert httpx.post(f"{url}/v1/responses", json=body, timeout=30).status_code == 200


def test_no_response_is_kept_to_be_had_later(ask: Ask, url: str, shelf: Shelf) -> None:
    name = ask().json()["id"]
    paths = ("", "/cancel", "/input_items")
    for method, path in [("GET", p) for p in paths] + [("DELETE", ""), ("POST", "/cancel")]:
        error = refusal(httpx.request(method, f"{url}/v1/responses/{name}{path}"), 404)
        assert error["code"] == "response_not_kept"
        assert "'input'" in error["message"]


def test_text_that_is_no_unicode_and_numbers_that_are_none_are_refused(url: str) -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": deep}
    function = {"type": "function", "name": "f"}
    schema = {"type": "json_schema", "name": "x", "schema": {"enum": ["\ud800"]}}
    spoilt: tuple[dict[str, Any], ...] = (
        {"input": "\ud800"},
        {"instructions": "\ud800"},
        {"user": "\ud800"},
        {"metadata": {"k": "\ud800"}},
        {"tools": [{**function, "description": "\ud800"}]},
        {"tools": [{**function, "parameters": {"\ud800": 1}}]},
        {"tools": [{**function, "parameters": {"a": float("nan")}}]},
        {"tools": [{**function, "parameters": deep}]},
        {"tools": [tool(filters={"type": "eq", "key": "a", "value": "\ud800"})]},
        {"text": {"format": schema}},
        {"temperature": float("inf")},
    )
    headers = {"Content-Type": "application/json"}
    for body in spoilt:
        sent = json.dumps({"input": QUESTION, **body})
        refusal(httpx.post(f"{url}/v1/responses", content=sent, headers=headers))
