"""A real vLLM as the model at another host, asked by a caller whose tokens are counted."""

from typing import Any

import httpx
import openai
import pytest

from tests.services.generator.conftest import BASE, StartGenerator, VllmServer
from tests.services.generator.upstream import Upstream

pytestmark = pytest.mark.e2e

ASK: dict[str, Any] = {
    "model": "elsewhere",
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": 12,
    "temperature": 0,
}


def test_it_answers_under_our_name_and_counts_itself_only_where_it_was_asked_to(
    start_generator: StartGenerator,
    upstream: Upstream,
    vllm_server: VllmServer,
    limits_url: str,
) -> None:
    host = {"name": "elsewhere", "url": f"{vllm_server.url}/v1", "model": BASE}
    url = start_generator(
        upstream.url,
        upstreams=[{**host, "max_model_len": 2048}],
        redis_url=limits_url,
        default_limits={"tokens_per_minute": 1_000_000},
    )
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    answer = client.chat.completions.create(**ASK)
    assert answer.choices[0].message.content == "The capital of France is Paris."
    counted = list(
        client.chat.completions.create(**ASK, stream=True, stream_options={"include_usage": True})
    )
    plain = list(client.chat.completions.create(**ASK, stream=True))
    assert counted[-1].usage == answer.usage
    assert all(chunk.usage is None for chunk in plain)  # none was asked for on the caller's behalf
    asked = {"model": "elsewhere", "question": "Why?", "condition": "closed_book", "max_tokens": 8}
    assert httpx.post(f"{url}/v1/rag/query", json=asked, timeout=60).json()["model"] == "elsewhere"
    assert upstream.bodies == []
