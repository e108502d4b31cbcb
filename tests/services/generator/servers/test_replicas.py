"""Several replicas: who is asked, who is asked instead, and who is left alone for a while."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import free_port
from tests.services.generator.conftest import BASE, StartGenerator, serving
from tests.services.generator.upstream import Upstream

ASK: dict[str, Any] = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
def pair() -> Iterator[tuple[Upstream, Upstream]]:
    one, other = Upstream(BASE), Upstream(BASE)
    with serving(one.app) as one.url, serving(other.app) as other.url:
        yield one, other


def chat(url: str, **more: Any) -> httpx.Response:
    return httpx.post(f"{url}/v1/chat/completions", json={**ASK, **more}, timeout=30)


@pytest.mark.parametrize("stream", [True, False])
def test_a_replica_that_says_503_first_is_replaced_unnoticed(
    start_generator: StartGenerator, pair: tuple[Upstream, Upstream], stream: bool
) -> None:
    busy, well = pair
    url = start_generator(busy.url, vllm_urls=[busy.url, well.url], unhealthy_rest_seconds=60)
    busy.fault = "busy"
    for _ in range(6):
        assert chat(url, stream=stream).status_code == 200
    assert len(well.bodies) == 6
    assert len(busy.bodies) == 3  # then it is left alone


def test_a_replica_that_died_is_replaced_unnoticed(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    dying = Upstream(BASE)
    with serving(dying.app) as dying.url:
        url = start_generator(
            upstream.url, vllm_urls=[dying.url, upstream.url], reconcile_seconds=3600
        )
        assert chat(url).status_code == 200
        assert len(dying.bodies) == 1
    for _ in range(3):
        assert chat(url).status_code == 200
    assert len(upstream.bodies) == 3


def test_without_another_replica_a_503_is_the_callers_to_see(
    start_generator: StartGenerator, pair: tuple[Upstream, Upstream]
) -> None:
    url = start_generator(pair[0].url, vllm_urls=[u.url for u in pair])
    for upstream in pair:
        upstream.fault = "busy"
    refused = chat(url)
    assert refused.status_code == 503
    assert refused.json()["error"]["message"] == "The engine sleeps."
    assert int(refused.headers["retry-after"]) >= 1
    assert [len(upstream.bodies) for upstream in pair] == [1, 1]


@pytest.mark.parametrize(
    ("fault", "stream", "code"),
    [
        ("hang", False, "model_server_timeout"),
        ("mute", True, "first_token_timeout"),
        ("hang", True, "token_timeout"),
        ("cut", True, "model_server_broke_off"),
        ("broken", False, "model_server_failed"),
    ],
)
def test_what_may_have_been_generated_is_not_asked_of_another(
    start_generator: StartGenerator,
    pair: tuple[Upstream, Upstream],
    fault: str,
    stream: bool,
    code: str,
) -> None:
    url = start_generator(
        pair[0].url,
        vllm_urls=[u.url for u in pair],
        first_token_timeout_seconds=0.3,
        token_timeout_seconds=0.3,
        # Of a stream that hangs the next piece is missed, also where all takes its time.
        request_timeout_seconds=60 if stream else 1,
    )
    for upstream in pair:
        upstream.fault = fault
    assert code in chat(url, stream=stream).text
    assert sum(len(upstream.bodies) for upstream in pair) == 1


def test_a_replica_that_hangs_is_left_alone_and_tried_again_by_one_request(
    start_generator: StartGenerator, pair: tuple[Upstream, Upstream]
) -> None:
    hanging, well = pair
    url = start_generator(
        hanging.url,
        vllm_urls=[hanging.url, well.url],
        first_token_timeout_seconds=2,
        unhealthy_after=1,
        unhealthy_rest_seconds=4,
    )
    hanging.fault = "mute"
    answers = [chat(url, stream=True).text for _ in range(4)]
    assert [("first_token_timeout" in said, "[DONE]" in said) for said in answers] == [
        (True, False),
        *[(False, True)] * 3,
    ]
    assert len(hanging.bodies) == 1
    hanging.fault = None
    while len(hanging.bodies) < 3:  # its rest comes to an end, and it is one of two again
        assert "[DONE]" in chat(url, stream=True).text
        time.sleep(0.05)


def test_when_every_replica_rests_callers_are_told_for_how_long(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    url = start_generator(upstream.url, unhealthy_after=2, unhealthy_rest_seconds=40)
    upstream.fault = "busy"
    assert [chat(url).status_code for _ in range(2)] == [503, 503]
    asked = len(upstream.bodies)
    resting = chat(url)
    assert resting.status_code == 503
    assert resting.json()["error"]["code"] == "model_server_unavailable"
    assert 30 <= int(resting.headers["retry-after"]) <= 40
    assert len(upstream.bodies) == asked
    assert httpx.get(f"{url}/readyz").status_code == 503
    metrics = httpx.get(f"{url}/metrics").text
    assert 'upstream_failures_total{code="service_unavailable",upstream="vllm"} 2.0' in metrics
    assert 'upstream_begin_seconds_count{upstream="vllm"}' not in metrics


def test_a_question_that_vllm_refuses_says_nothing_of_its_health(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    url = start_generator(upstream.url, unhealthy_after=1, unhealthy_rest_seconds=60)
    for fault, status in (("refuse", 400), ("broken", 500 + 2), (None, 200)):
        upstream.fault = fault
        assert chat(url).status_code == status


def test_a_model_server_that_takes_no_connection_in_time_is_a_typed_503(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    url = start_generator(upstream.url, vllm_urls=[f"http://127.0.0.1:{free_port()}"])
    assert chat(url).json()["error"]["code"] == "model_server_unavailable"


def test_a_reader_who_stops_reading_loses_the_place(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    url = start_generator(upstream.url, max_concurrent_requests=1, request_timeout_seconds=1)
    upstream.text = ("x" * 30_000_000, "y")
    body = {**ASK, "stream": True}
    leave = threading.Event()

    def stop_reading() -> None:
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60):
            leave.wait(60)

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(stop_reading)
        while not upstream.bodies:
            time.sleep(0.01)
        upstream.text = ("Hello", " there.")
        assert chat(url).status_code == 200
        leave.set()
        reader.result()
