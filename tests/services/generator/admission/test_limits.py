"""Limits of callers, by HTTP: refused in time, told when to come back, and forgotten with Redis."""

import hashlib
import json
from typing import Any

import httpx
import openai
import pytest
from redis import Redis

from fineproof.local.redis import running_redis
from services.generator.admission.limits import duration
from tests.conftest import free_port
from tests.services.generator.conftest import BASE, StartGenerator
from tests.services.generator.upstream import Upstream

ASK: dict[str, Any] = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}]}
AWAY = "redis://127.0.0.1:9/0"


def chat(url: str, key: str = "none", **more: Any) -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return httpx.post(f"{url}/v1/chat/completions", json={**ASK, **more}, headers=headers)


def assert_limited(response: httpx.Response) -> None:
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(response.headers["retry-after"]) >= 1


@pytest.fixture
def keys() -> list[dict[str, object]]:
    def key(name: str) -> dict[str, object]:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return {"name": name, "sha256": digest, "scopes": ["read"]}

    return [key(name) for name in ("alice", "bob", "peers")]


def test_requests_a_minute_are_told_and_then_refused(
    start_generator: StartGenerator, upstream: Upstream, limits_url: str
) -> None:
    url = start_generator(
        upstream.url, redis_url=limits_url, default_limits={"requests_per_minute": 2}
    )
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    left = [
        client.chat.completions.with_raw_response.create(**ASK).headers[
            "x-ratelimit-remaining-requests"
        ]
        for _ in range(2)
    ]
    assert left == ["1", "0"]
    with pytest.raises(openai.RateLimitError) as refused:
        client.chat.completions.create(**ASK)
    assert refused.value.code == "rate_limit_exceeded"
    said = refused.value.response.headers
    assert 1 <= int(said["retry-after"]) <= 30
    assert said["x-ratelimit-limit-requests"] == "2"
    assert said["x-ratelimit-reset-requests"].endswith("s")
    assert "x-ratelimit-limit-tokens" not in said
    assert 'refused_total{reason="requests"} 1.0' in httpx.get(f"{url}/metrics").text


@pytest.mark.parametrize("stream", [True, False])
def test_tokens_that_were_asked_for_and_not_used_come_back(
    start_generator: StartGenerator, upstream: Upstream, limits_url: str, stream: bool
) -> None:
    url = start_generator(
        upstream.url, redis_url=limits_url, default_limits={"tokens_per_minute": 1000}
    )
    for _ in range(4):
        assert chat(url, max_tokens=900, stream=stream).status_code == 200
    sent = [json.loads(body) for body in upstream.bodies]
    assert sent == [{**ASK, "max_tokens": 900, "stream": stream}] * 4  # no usage asked for


def test_tokens_a_minute_are_refused_while_they_are_in_use(
    start_generator: StartGenerator, upstream: Upstream, limits_url: str
) -> None:
    url = start_generator(
        upstream.url, redis_url=limits_url, default_limits={"tokens_per_minute": 1000}
    )
    upstream.fault = "hang"
    big = {**ASK, "max_tokens": 900, "stream": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=big) as held:
        assert held.headers["x-ratelimit-limit-tokens"] == "1000"
        upstream.fault = None
        assert_limited(refused := chat(url, max_tokens=900))
        assert refused.headers["x-ratelimit-remaining-tokens"].isdigit()
        assert chat(url, max_tokens=1).status_code == 200


def test_rag_answers_are_on_the_same_account(
    start_generator: StartGenerator, upstream: Upstream, limits_url: str
) -> None:
    url = start_generator(
        upstream.url, redis_url=limits_url, default_limits={"requests_per_minute": 1}
    )
    ask = {"question": "Why?", "condition": "closed_book"}
    first = httpx.post(f"{url}/v1/rag/query", json=ask)
    assert first.status_code == 200
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    for stream in (True, False):
        assert_limited(httpx.post(f"{url}/v1/rag/query", json={**ask, "stream": stream}))
    assert_limited(chat(url))


def test_each_key_has_its_own_limits_and_peers_have_none(
    start_generator: StartGenerator,
    upstream: Upstream,
    limits_url: str,
    keys: list[dict[str, object]],
) -> None:
    url = start_generator(
        upstream.url,
        mode="production",
        api_keys=keys,
        service_key="peers",
        redis_url=limits_url,
        default_limits={"requests_per_minute": 1},
        caller_limits={"bob": {"requests_per_minute": 2}},
    )
    allowed = {
        name: [chat(url, name).status_code for _ in range(3)] for name in ("alice", "bob", "peers")
    }
    assert allowed == {"alice": [200, 429, 429], "bob": [200, 200, 429], "peers": [200] * 3}


def test_one_callers_answers_at_once_do_not_touch_anothers(
    start_generator: StartGenerator,
    upstream: Upstream,
    limits_url: str,
    keys: list[dict[str, object]],
) -> None:
    url = start_generator(
        upstream.url,
        mode="production",
        api_keys=keys,
        redis_url=limits_url,
        default_limits={"concurrent_requests": 1},
    )
    upstream.fault = "hang"
    headers = {"Authorization": "Bearer alice"}
    with httpx.stream(
        "POST", f"{url}/v1/chat/completions", json={**ASK, "stream": True}, headers=headers
    ) as held:
        assert held.status_code == 200
        upstream.fault = None
        assert_limited(chat(url, "alice"))
        assert chat(url, "bob").status_code == 200


def test_who_has_read_an_answer_may_ask_the_next(
    start_generator: StartGenerator, upstream: Upstream, limits_url: str
) -> None:
    url = start_generator(
        upstream.url, redis_url=limits_url, default_limits={"concurrent_requests": 1}
    )
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    for _ in range(20):
        assert client.chat.completions.create(**ASK).choices
        assert list(client.chat.completions.create(**ASK, stream=True))


def test_limits_are_shared_by_all_generators(
    start_generator: StartGenerator, upstream: Upstream, limits_url: str
) -> None:
    limited = {"redis_url": limits_url, "default_limits": {"requests_per_minute": 1}}
    one, other = (start_generator(upstream.url, **limited) for _ in range(2))
    assert chat(one).status_code == 200
    assert_limited(chat(other))


def test_without_redis_each_process_limits_by_itself(
    start_generator: StartGenerator, upstream: Upstream
) -> None:
    limited = {"redis_url": AWAY, "default_limits": {"requests_per_minute": 1}}
    one, other = (start_generator(upstream.url, **limited) for _ in range(2))
    assert chat(one).status_code == 200
    assert chat(other).status_code == 200
    assert_limited(chat(one))


def test_redis_that_goes_away_between_two_questions_is_not_noticed(
    start_generator: StartGenerator, upstream: Upstream, tmp_path: Any
) -> None:
    upstream.fault = "hang"
    with running_redis(tmp_path / "redis", free_port()) as redis_url:
        url = start_generator(
            upstream.url, redis_url=redis_url, default_limits={"concurrent_requests": 2}
        )
        held = httpx.stream("POST", f"{url}/v1/chat/completions", json={**ASK, "stream": True})
        with held as stream:
            assert stream.status_code == 200
            assert len(Redis.from_url(redis_url).keys()) == 1
            upstream.fault = None
    assert chat(url).status_code == 200


def test_without_limits_redis_is_not_asked(
    start_generator: StartGenerator, upstream: Upstream, limits_url: str
) -> None:
    url = start_generator(upstream.url, redis_url=limits_url)
    response = chat(url)
    assert response.status_code == 200
    assert not [name for name in response.headers if name.startswith("x-ratelimit")]
    assert Redis.from_url(limits_url).keys() == []


def test_limits_of_a_key_that_is_not_there_are_refused_at_start(
    start_generator: StartGenerator, upstream: Upstream, keys: list[dict[str, object]]
) -> None:
    with pytest.raises(ValueError, match="no key is called so"):
        start_generator(upstream.url, mode="production", api_keys=keys, caller_limits={"bobb": {}})


def test_durations_are_written_as_openai_writes_them() -> None:
    assert [duration(s) for s in (0.0, 0.12, 1.0, 7.46, 60, 360, 75.5)] == [
        "0ms",
        "120ms",
        "1s",
        "7.5s",
        "1m0s",
        "6m0s",
        "1m15.5s",
    ]
