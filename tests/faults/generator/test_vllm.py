"""vLLM dies, hangs, and has an adapter taken from it, each time while it is being asked."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.services.generator.adapters.test_keeper import chat, eventually, load, shown
from tests.services.generator.conftest import BASE, StartGenerator, held, serving
from tests.services.generator.upstream import Upstream
from tests.vllm import VllmServer

ANSWERED = "answered"
TYPED = {"model_server_unavailable", "model_server_broke_off", "model_server_failed"}


def body(model: str, *, stream: bool, tokens: int) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Tell me of the sea."}]
    length = {"max_tokens": tokens, "ignore_eos": True}
    return {"model": model, "messages": messages, "stream": stream, **length}


def outcome(generator: str, model: str, *, stream: bool) -> str:
    """``answered``, or the code of the error that the answer is or ends in."""
    url = f"{generator}/v1/chat/completions"
    answer = httpx.post(url, json=body(model, stream=stream, tokens=24), timeout=300)
    if not stream or answer.is_error:
        said = answer.json()
        return ANSWERED if answer.is_success else str(said["error"]["code"])
    last = answer.text.strip().split("\n\n")[-1].removeprefix("data: ")
    return ANSWERED if last == "[DONE]" else str(json.loads(last)["error"]["code"])


def test_it_is_killed_under_load_and_restarted(
    real_generator: str, vllm_server: VllmServer, adapter: str
) -> None:
    before = load(real_generator, adapter).json()["proof"]
    outcomes: Counter[str] = Counter()
    enough = threading.Event()

    def keep_asking(model: str, stream: bool) -> None:
        while not enough.is_set():
            outcomes[outcome(real_generator, model, stream=stream)] += 1
            enough.wait(0.2)

    with ThreadPoolExecutor(4) as callers:
        asking = [
            callers.submit(keep_asking, model, stream)
            for model in (BASE, adapter)
            for stream in (True, False)
        ]
        try:
            eventually(lambda: outcomes[ANSWERED] >= 4, seconds=120)
            vllm_server.kill()
            eventually(lambda: outcomes["model_server_unavailable"] >= 4, seconds=120)
            assert httpx.get(f"{real_generator}/readyz").status_code == 503
            vllm_server.start()
            eventually(lambda: shown(real_generator, adapter)["status"] == "loaded", seconds=180)
            answered = outcomes[ANSWERED]
            eventually(lambda: outcomes[ANSWERED] >= answered + 4, seconds=120)
        finally:
            enough.set()
    for each in asking:
        each.result()
    assert set(outcomes) <= TYPED | {ANSWERED}, outcomes
    assert adapter in held(vllm_server)
    again = shown(real_generator, adapter)["proof"]
    assert again["checked_at"] > before["checked_at"]
    assert again["replica_started_at"] > before["replica_started_at"]
    assert httpx.get(f"{real_generator}/readyz").status_code == 200


def test_an_adapter_deleted_in_mid_stream_finishes_what_it_began(
    real_generator: str, vllm_server: VllmServer, adapter: str
) -> None:
    load(real_generator, adapter)
    ask = body(adapter, stream=True, tokens=48)
    url = f"{real_generator}/v1/chat/completions"
    with (
        ThreadPoolExecutor(1) as other,
        httpx.stream("POST", url, json=ask, timeout=300) as answer,
    ):
        lines = (line for line in answer.iter_lines() if line)
        assert json.loads(next(lines).removeprefix("data: "))["model"] == adapter
        gone = other.submit(httpx.delete, f"{real_generator}/v1/adapters/{adapter}", timeout=300)
        rest = list(lines)
    assert rest[-1] == "data: [DONE]"
    assert '"finish_reason":"length"' in rest[-2]
    assert gone.result().json()["deleted"] is True
    eventually(lambda: adapter not in held(vllm_server))
    assert shown(real_generator, adapter)["status"] == "unloaded"
    # Who asks for it again has it proven and loaded again.
    assert outcome(real_generator, adapter, stream=False) == ANSWERED
    assert shown(real_generator, adapter)["proof"] is not None


@pytest.fixture
def second() -> Iterator[Upstream]:
    second = Upstream(BASE)
    with serving(second.app) as second.url:
        yield second


def test_a_replica_that_hangs_keeps_nobody_waiting_and_is_left_alone(
    start_generator: StartGenerator, upstream: Upstream, second: Upstream
) -> None:
    url = start_generator(
        upstream.url, vllm_urls=[upstream.url, second.url], request_timeout_seconds=1
    )
    upstream.fault = "frozen"
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda _: chat(url, BASE), range(8)))
    for answer in answers:
        if answer.status_code != 200:
            assert answer.status_code == 504
            assert answer.json()["error"]["code"] == "model_server_timeout"
    eventually(lambda: {chat(url, BASE).status_code for _ in range(4)} == {200}, seconds=60)
    assert httpx.get(f"{url}/readyz").status_code == 200
    upstream.fault = None
    asked = len(upstream.bodies)
    eventually(lambda: chat(url, BASE).is_success and len(upstream.bodies) > asked, seconds=60)
