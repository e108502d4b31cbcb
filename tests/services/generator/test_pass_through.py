"""Chat and completions: bytes in, bytes out, and typed errors where vLLM fails."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from anyio.to_thread import run_sync

from services.common.weights import revision
from services.generator import main
from tests.services.generator.conftest import BASE, StartGenerator
from tests.services.generator.registry import Registry
from tests.services.generator.upstream import Upstream

ROUTES = ("/v1/chat/completions", "/v1/completions")
ASK = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}]}


def error_of(response: httpx.Response) -> dict[str, str]:
    error: dict[str, str] = response.json()["error"]
    assert set(error) == {"message", "type", "code", "param"}
    return error


@pytest.mark.parametrize("route", ROUTES)
def test_a_body_reaches_vllm_byte_for_byte(generator: str, upstream: Upstream, route: str) -> None:
    body = json.dumps(
        {**ASK, "n": 2, "logprobs": True, "stop": ["\u00e9"], "structured_outputs": {"a": 1.50}}
    ).replace(", ", ",  ")
    response = httpx.post(generator + route, content=body)
    assert response.status_code == 200
    assert upstream.bodies == [body.encode()]
    assert response.json()["choices"][0]["message"]["content"] == "Hello there."


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_says_in_a_header_which_model_gave_it(generator: str, stream: bool) -> None:
    response = httpx.post(f"{generator}/v1/chat/completions", json={**ASK, "stream": stream})
    assert response.headers["x-fineproof-model"] == BASE
    assert "x-fineproof-adapter-sha256" not in response.headers


def test_an_answer_and_the_models_card_name_the_base_models_weights(
    generator: str, tmp_path: Path
) -> None:
    expected = revision(tmp_path / "base")
    deadline = time.monotonic() + 30
    while (card := httpx.get(f"{generator}/v1/models/{BASE}").json())["base_revision"] is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert card["base_revision"] == expected
    answer = httpx.post(f"{generator}/v1/chat/completions", json=ASK)
    assert answer.headers["x-fineproof-base-revision"] == expected


def test_it_is_not_ready_before_it_can_name_its_weights(
    start_generator: StartGenerator, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = threading.Event()

    async def reading(_: str) -> str:
        await run_sync(read.wait, 60)
        return "sha256:ab"

    monkeypatch.setattr(main, "base_revision", reading)
    url = start_generator(upstream.url)
    early = httpx.get(f"{url}/readyz")
    assert (early.status_code, early.json()["error"]["code"]) == (503, "not_ready")
    assert "weights" in early.json()["error"]["message"]
    read.set()
    deadline = time.monotonic() + 30
    while httpx.get(f"{url}/readyz").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert httpx.get(f"{url}/v1/models/{BASE}").json()["base_revision"] == "sha256:ab"


def test_where_no_weights_can_be_read_the_base_model_answers_without_a_name(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    url = start_generator(upstream.url, base_model_path="/nowhere/at/all")
    answer = httpx.post(f"{url}/v1/chat/completions", json=ASK)
    assert answer.status_code == 200
    assert "x-fineproof-base-revision" not in answer.headers


def test_a_stream_is_relayed_as_it_comes(generator: str) -> None:
    client = openai.OpenAI(base_url=f"{generator}/v1", api_key="none")
    stream = client.chat.completions.create(**ASK, stream=True)
    pieces = [c.choices[0].delta.content for c in stream if c.choices]
    assert pieces == ["Hello", " there."]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("cut", "model_server_broke_off"),
        ("no_done", "model_server_broke_off"),
        ("no_end", "model_server_broke_off"),
        ("malformed", "model_server_malformed"),
        ("endless", "model_server_malformed"),
    ],
)
def test_a_stream_that_breaks_off_or_is_no_json_ends_in_an_error_event(
    generator: str, upstream: Upstream, fault: str, code: str
) -> None:
    upstream.fault = fault
    client = openai.OpenAI(base_url=f"{generator}/v1", api_key="none")
    chunks = iter(client.chat.completions.create(**ASK, stream=True))
    assert next(chunks).choices[0].delta.content == "Hello"
    with pytest.raises(openai.APIError) as caught:
        list(chunks)
    assert caught.value.code == code


@pytest.mark.parametrize("ending", ["\r\n\r\n", "\n\n\n"])
def test_events_may_end_as_the_standard_lets_them(
    generator: str, upstream: Upstream, ending: str
) -> None:
    upstream.ending = ending.encode()
    response = httpx.post(f"{generator}/v1/chat/completions", json={**ASK, "stream": True})
    assert response.content.count(upstream.ending) == 4
    assert response.content.endswith(b"data: [DONE]" + upstream.ending)
    asked = {"question": "Why?", "condition": "closed_book", "stream": True}
    answer = httpx.post(f"{generator}/v1/rag/query", json=asked)
    assert b"Hello there." in answer.content


def test_a_silent_stream_ends_in_a_timeout_event(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    upstream.fault = "hang"
    url = start_generator(upstream.url, request_timeout_seconds=0.3)
    response = httpx.post(f"{url}/v1/chat/completions", json={**ASK, "stream": True})
    assert b"model_server_timeout" in response.content.split(b"\n\n")[-2]


def test_an_answer_that_does_not_come_is_a_504(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    upstream.fault = "hang"
    url = start_generator(upstream.url, request_timeout_seconds=0.3)
    response = httpx.post(f"{url}/v1/chat/completions", json=ASK)
    assert response.status_code == 504
    assert error_of(response)["code"] == "model_server_timeout"


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_who_leaves_ends_the_generation(
    generator: str, upstream: Upstream, stream: bool
) -> None:
    upstream.fault = "hang"
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{generator}/v1/chat/completions",
            json={**ASK, "stream": stream},
            timeout=httpx.Timeout(5, read=0.3),
        )
    deadline = time.monotonic() + 5
    while upstream.left == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert upstream.left == 1


def test_vllms_refusal_keeps_its_status_and_sentence(generator: str, upstream: Upstream) -> None:
    upstream.fault = "refuse"
    for stream in (True, False):
        response = httpx.post(f"{generator}/v1/chat/completions", json={**ASK, "stream": stream})
        assert response.status_code == 400
        assert error_of(response) == {
            "message": "Not like that.",
            "type": "invalid_request_error",
            "code": "invalid_request",
            "param": "n",
        }


def test_a_vllm_that_fails_is_a_502_without_its_innards(generator: str, upstream: Upstream) -> None:
    upstream.fault = "broken"
    response = httpx.post(f"{generator}/v1/chat/completions", json=ASK)
    assert response.status_code == 502
    assert error_of(response)["code"] == "model_server_failed"
    assert "html" not in response.text


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("html", 502, "model_server_malformed"),
        ("malformed", 502, "model_server_malformed"),
        ("flood", 502, "model_server_malformed"),
        ("cut", 503, "model_server_unavailable"),
    ],
)
def test_an_answer_that_is_not_one_is_typed(
    generator: str, upstream: Upstream, fault: str, status: int, code: str
) -> None:
    upstream.fault = fault
    response = httpx.post(f"{generator}/v1/chat/completions", json=ASK)
    assert response.status_code == status
    assert error_of(response)["code"] == code


def test_without_vllm_answers_are_503_and_the_service_is_not_ready(
    start_generator: StartGenerator,
) -> None:
    url = start_generator("http://127.0.0.1:9")
    response = httpx.post(f"{url}/v1/chat/completions", json=ASK)
    assert response.status_code == 503
    assert error_of(response)["code"] == "model_server_unavailable"
    assert response.headers["retry-after"]
    assert httpx.get(f"{url}/readyz").status_code == 503
    assert httpx.get(f"{url}/healthz").status_code == 200
    assert httpx.get(f"{url}/v1/models").json()["data"][0]["status"] == "unavailable"


def test_more_answers_than_allowed_wait_and_beyond_that_are_503(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    url = start_generator(
        upstream.url, max_concurrent_requests=1, max_waiting_requests=1, max_wait_seconds=60
    )
    upstream.fault = "hang"
    with ThreadPoolExecutor(1) as pool:
        with httpx.stream(
            "POST", f"{url}/v1/chat/completions", json={**ASK, "stream": True}
        ) as held:
            assert held.status_code == 200
            waiting = pool.submit(httpx.post, f"{url}/v1/chat/completions", json=ASK, timeout=60)
            while "fineproof_generator_waiting 1.0" not in httpx.get(f"{url}/metrics").text:
                time.sleep(0.01)
            refused = httpx.post(f"{url}/v1/chat/completions", json=ASK)
            assert refused.status_code == 503
            assert error_of(refused)["code"] == "overloaded"
            assert int(refused.headers["retry-after"]) >= 1
            upstream.fault = None
        assert waiting.result().status_code == 200


def test_who_waits_for_a_place_does_not_wait_for_ever_and_may_leave(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    url = start_generator(upstream.url, max_concurrent_requests=1, max_wait_seconds=0.5)
    upstream.fault = "hang"
    body = {**ASK, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as held:
        assert held.status_code == 200
        refused = httpx.post(f"{url}/v1/chat/completions", json=ASK)
        assert (refused.status_code, error_of(refused)["code"]) == (503, "overloaded")
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/chat/completions", json=ASK, timeout=0.1)
        while "fineproof_generator_waiting 0.0" not in httpx.get(f"{url}/metrics").text:
            time.sleep(0.01)
    assert len(upstream.bodies) == 1


def test_an_unknown_model_is_a_404(generator: str) -> None:
    names = ("gpt-4", "ft:none:such:job_1", "ft:a/../b", "ft:a?b=c", "ft:\x00", "", "ft:\ud800")
    for route in ROUTES:
        for name in names:
            response = httpx.post(generator + route, content=json.dumps({**ASK, "model": name}))
            assert response.status_code == 404, (route, name)
            assert error_of(response)["code"] == "model_not_found"


def test_a_body_without_a_model_is_a_400(generator: str) -> None:
    bodies = (b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"model": null}', b'{"model": 7}')
    for route in ROUTES:
        for body in (*bodies, b"[" * 9**5):
            response = httpx.post(generator + route, content=body)
            assert response.status_code == 400, (route, body[:20])
            assert error_of(response)["type"] == "invalid_request_error"


def test_what_vllm_may_die_of_does_not_reach_it(
    start_generator: StartGenerator, generator: str, upstream: Upstream
) -> None:
    deadly = (
        ("chat/completions", {**ASK, "prompt_logprobs": 0}),
        ("chat/completions", {**ASK, "echo": True}),
        ("completions", {"model": BASE, "prompt": "Hi", "prompt_logprobs": 1}),
        ("completions", {"model": BASE, "prompt": "Hi", "echo": True, "logprobs": 0}),
        ("completions", {**ASK, "prompt": "Hi", "echo": 1, "logprobs": 1, "top_logprobs": None}),
    )
    harmless = {"model": BASE, "prompt": "Hi", "echo": True}
    for route, body in deadly:
        refused = httpx.post(f"{generator}/v1/{route}", json=body)
        assert refused.status_code == 400, body
        assert error_of(refused)["code"] == "unsupported_parameter"
    assert upstream.bodies == []
    assert httpx.post(f"{generator}/v1/completions", json=harmless).status_code == 200
    daring = start_generator(upstream.url, allow_prompt_logprobs=True)
    assert httpx.post(f"{daring}/v1/{deadly[0][0]}", json=deadly[0][1]).status_code == 200


def test_the_registry_away_leaves_the_base_model_to_talk_to(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry
) -> None:
    url = start_generator(upstream.url, trainer_url="http://127.0.0.1:9")
    assert httpx.post(f"{url}/v1/chat/completions", json=ASK).status_code == 200
    cold = httpx.post(f"{url}/v1/chat/completions", json={**ASK, "model": "ft:a:b:c"})
    assert cold.status_code == 503
    assert "trainer" in error_of(cold)["message"]
