import hashlib

import httpx
import pytest

from tests.services.generator.conftest import BASE, StartGenerator
from tests.services.generator.upstream import Upstream


@pytest.fixture
def guarded(start_generator: StartGenerator, upstream: Upstream) -> str:
    def key(name: str, *scopes: str) -> dict[str, object]:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return {"name": name, "sha256": digest, "scopes": scopes}

    keys = [key("reader", "read"), key("writer", "read", "write")]
    return start_generator(upstream.url, mode="production", api_keys=keys)


def test_asking_needs_a_key_that_reads_and_loading_one_that_writes(guarded: str) -> None:
    chat = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}]}
    asked = {"question": "Why?", "condition": "closed_book"}
    asking = (
        ("chat/completions", chat),
        ("completions", chat),
        ("rag/query", asked),
        ("responses", {"input": "Why?"}),
    )
    reader = {"Authorization": "Bearer reader"}
    for route, body in asking:
        assert httpx.post(f"{guarded}/v1/{route}", json=body).status_code == 401
        assert httpx.post(f"{guarded}/v1/{route}", json=body, headers=reader).status_code == 200
    load = {"name": "ft:a:b:c"}
    url = f"{guarded}/v1/adapters"
    assert httpx.post(url, json=load, headers=reader).status_code == 403
    assert httpx.delete(f"{url}/ft:a:b:c", headers=reader).status_code == 403
    writer = {"Authorization": "Bearer writer"}
    assert httpx.delete(f"{url}/ft:a:b:c", headers=writer).status_code == 404


def test_a_callers_key_does_not_travel_to_vllm(guarded: str, upstream: Upstream) -> None:
    body = {"model": BASE, "messages": []}
    headers = {"Authorization": "Bearer reader"}
    assert httpx.post(f"{guarded}/v1/completions", json=body, headers=headers).status_code == 200
    assert "authorization" not in upstream.headers[-1]
