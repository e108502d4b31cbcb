"""Adapters by name, before a model server that scores canaries by rote. See ``test_sabotage`` for
real ones."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.services.generator.conftest import BASE, StartGenerator
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_adapter
from tests.services.generator.upstream import Upstream

NAME = f"ft:{BASE}:demo:ftjob-1"


@pytest.fixture
def adapter(registry: Registry, tmp_path: Path) -> str:
    registry.add(NAME, tiny_adapter(tmp_path / "one", base_model=BASE), base_model=BASE)
    return NAME


def load(generator: str, name: str) -> httpx.Response:
    return httpx.post(f"{generator}/v1/adapters", json={"name": name}, timeout=300)


def chat(generator: str, model: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return httpx.post(f"{generator}/v1/chat/completions", json=body, timeout=300)


def shown(generator: str, name: str) -> dict[str, Any]:
    adapter: dict[str, Any] = httpx.get(f"{generator}/v1/adapters/{name}").json()
    return adapter


def eventually(holds: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)


def test_loading_proves_and_shows_the_proof(generator: str, adapter: str) -> None:
    loaded = load(generator, adapter)
    assert loaded.status_code == 200
    assert loaded.json()["status"] == "loaded"
    proof = loaded.json()["proof"]
    assert (proof["modules_in_file"], proof["modules_matched"]) == (1, 1)
    assert proof["max_abs_logprob_delta"] == 1.0
    assert proof["peft_max_abs_diff"] == 0.0 < proof["tolerance"]
    assert shown(generator, adapter) == loaded.json()
    model = httpx.get(f"{generator}/v1/models/{adapter}").json()
    assert (model["parent"], model["status"]) == (BASE, "loaded")
    assert model["sha256"] == proof["sha256"]


def test_loading_again_is_no_work(generator: str, adapter: str, upstream: Upstream) -> None:
    first, second = load(generator, adapter), load(generator, adapter)
    assert first.json() == second.json()
    assert upstream.loads == [adapter]


def test_fifty_first_requests_load_once(generator: str, adapter: str, upstream: Upstream) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: chat(generator, adapter), range(50)))
    assert [answer.status_code for answer in answers] == [200] * 50
    assert upstream.loads == [adapter]


def test_a_request_that_waits_too_long_for_its_adapter_is_told_and_loading_goes_on(
    start_generator: StartGenerator, registry: Registry, adapter: str, upstream: Upstream
) -> None:
    url = start_generator(upstream.url, trainer_url=registry.url, adapter_wait_seconds=0.01)
    early = chat(url, adapter)
    assert early.status_code == 503
    assert early.json()["error"]["code"] == "adapter_loading"
    assert int(early.headers["retry-after"]) >= 1
    eventually(lambda: chat(url, adapter).status_code == 200)
    assert upstream.loads == [adapter]


def test_twenty_first_requests_for_a_bad_adapter_all_learn_why(
    generator: str, adapter: str, upstream: Upstream
) -> None:
    upstream.fault = "serves_base"
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: chat(generator, adapter), range(20)))
    assert {answer.status_code for answer in answers} == {422}
    assert {answer.json()["error"]["code"] for answer in answers} == {"adapter_no_effect"}
    assert upstream.loads == [adapter]
    assert upstream.adapters == {}


def test_a_refused_adapter_stays_refused_until_it_is_asked_for_by_post(
    generator: str, adapter: str, upstream: Upstream
) -> None:
    upstream.fault = "serves_base"
    assert load(generator, adapter).json()["error"]["code"] == "adapter_no_effect"
    upstream.fault = None
    assert chat(generator, adapter).status_code == 422
    assert shown(generator, adapter)["status"] == "failed"
    assert shown(generator, adapter)["error"]["code"] == "adapter_no_effect"
    assert load(generator, adapter).status_code == 200
    assert chat(generator, adapter).status_code == 200


def test_after_a_restart_of_vllm_adapters_come_back_proven(
    generator: str, adapter: str, upstream: Upstream
) -> None:
    load(generator, adapter)
    upstream.restart()
    eventually(lambda: adapter in upstream.adapters)
    eventually(lambda: shown(generator, adapter)["status"] == "loaded")
    assert upstream.loads == [adapter, adapter]


def test_a_request_that_meets_a_restarted_vllm_waits_for_its_adapter(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry, adapter: str
) -> None:
    url = start_generator(upstream.url, trainer_url=registry.url, reconcile_seconds=3600)
    load(url, adapter)
    upstream.restart()
    assert chat(url, adapter).status_code == 200
    assert upstream.loads == [adapter, adapter]


def test_an_adapter_that_no_longer_proves_itself_after_a_restart_is_not_served(
    generator: str, adapter: str, upstream: Upstream
) -> None:
    load(generator, adapter)
    upstream.fault = "serves_base"
    upstream.restart()
    eventually(lambda: shown(generator, adapter)["status"] == "failed")
    upstream.fault = None
    assert chat(generator, adapter).status_code == 422
    assert upstream.adapters == {}


def test_adapters_come_back_with_a_new_generator_and_without_the_trainer(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry, adapter: str
) -> None:
    load(start_generator(upstream.url, trainer_url=registry.url), adapter)
    upstream.restart()
    second = start_generator(upstream.url, trainer_url="http://127.0.0.1:9")
    assert chat(second, adapter).status_code == 200


def test_unloading_takes_it_out_and_asking_again_brings_it_back(
    generator: str, adapter: str, upstream: Upstream
) -> None:
    load(generator, adapter)
    gone = httpx.delete(f"{generator}/v1/adapters/{adapter}")
    assert gone.json() == {"id": adapter, "object": "adapter", "deleted": True}
    assert upstream.adapters == {}
    assert shown(generator, adapter)["status"] == "unloaded"
    time.sleep(1.2)  # two looks of the reconciler
    assert upstream.adapters == {}
    assert chat(generator, adapter).status_code == 200


def test_an_adapter_of_another_base_model_is_refused(
    generator: str, registry: Registry, tmp_path: Path, upstream: Upstream
) -> None:
    name = "ft:llama:demo:ftjob-2"
    registry.add(name, tiny_adapter(tmp_path / "l", base_model="llama"), base_model="llama")
    assert load(generator, name).json()["error"]["code"] == "adapter_incompatible"
    assert upstream.loads == []


def test_a_cache_that_vllm_cannot_see_is_not_held_against_the_adapter(
    generator: str, adapter: str, upstream: Upstream
) -> None:
    upstream.fault = "blind"
    refused = load(generator, adapter)
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "adapter_cache_not_shared"
    assert shown(generator, adapter)["status"] == "loading"
    upstream.fault = None
    eventually(lambda: shown(generator, adapter)["status"] == "loaded")


def test_adapters_are_listed_in_pages(generator: str, registry: Registry, tmp_path: Path) -> None:
    names = [f"ft:{BASE}:demo:ftjob-{number}" for number in range(3)]
    for number, name in enumerate(names):
        folder = tiny_adapter(tmp_path / str(number), base_model=BASE, seed=number)
        registry.add(name, folder, base_model=BASE)
        assert load(generator, name).status_code == 200
    first = httpx.get(f"{generator}/v1/adapters", params={"limit": 2, "order": "asc"}).json()
    assert [item["id"] for item in first["data"]] == names[:2]
    assert first["has_more"]
    rest = httpx.get(
        f"{generator}/v1/adapters", params={"after": first["last_id"], "order": "asc"}
    ).json()
    assert [item["id"] for item in rest["data"]] == names[2:]
    models = httpx.get(f"{generator}/v1/models").json()["data"]
    assert [model["id"] for model in models] == [BASE, *names]


def test_pinning_lasts_until_it_is_taken_back(generator: str, adapter: str) -> None:
    assert not load(generator, adapter).json()["pinned"]
    for said, holds in ((True, True), (None, True), (False, False)):
        body = {"name": adapter, "pinned": said}
        asked = httpx.post(f"{generator}/v1/adapters", json=body, timeout=300)
        assert asked.json()["pinned"] is holds
        assert shown(generator, adapter)["pinned"] is holds
