"""vLLM is asked through an adapter before anybody waits for one."""

import httpx
import pytest

from services.generator.adapters.warming import NAME
from tests.services.generator.adapters.test_keeper import eventually
from tests.services.generator.conftest import StartGenerator
from tests.services.generator.registry import Registry
from tests.services.generator.upstream import Upstream


@pytest.fixture
def generator(start_generator: StartGenerator, upstream: Upstream, registry: Registry) -> str:
    return start_generator(upstream.url, trainer_url=registry.url, warm_up=True)


def is_ready(generator: str) -> bool:
    return httpx.get(f"{generator}/readyz").is_success


def through(upstream: Upstream) -> int:
    """How often it was asked through the adapter without effect."""
    return sum(f'"{NAME}"'.encode() in body for body in upstream.bodies)


def test_it_is_ready_once_vllm_was_asked_through_an_adapter(
    generator: str, upstream: Upstream
) -> None:
    eventually(lambda: is_ready(generator))
    assert upstream.loads == [NAME]
    assert through(upstream) == 1
    assert upstream.adapters == {}


def test_it_is_done_again_after_a_restart_and_only_then(generator: str, upstream: Upstream) -> None:
    eventually(lambda: is_ready(generator))
    upstream.restart()
    eventually(lambda: through(upstream) == 2)
    eventually(lambda: is_ready(generator))
    assert upstream.loads == [NAME, NAME]


def test_a_vllm_that_will_not_be_warmed_is_used_all_the_same(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry
) -> None:
    upstream.fault = "blind"
    generator = start_generator(upstream.url, trainer_url=registry.url, warm_up=True)
    eventually(lambda: is_ready(generator))
    ask = {"model": upstream.model, "messages": [{"role": "user", "content": "Hi"}]}
    assert httpx.post(f"{generator}/v1/chat/completions", json=ask).status_code == 200


def test_a_base_model_that_neither_a_folder_nor_the_hub_holds_is_served_all_the_same(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry
) -> None:
    generator = start_generator(
        upstream.url, trainer_url=registry.url, warm_up=True, base_model_path="nobody/nothing"
    )
    eventually(lambda: is_ready(generator))


def test_nobody_can_ask_through_it(generator: str, upstream: Upstream) -> None:
    ask = {"model": NAME, "messages": [{"role": "user", "content": "Hi"}]}
    answer = httpx.post(f"{generator}/v1/chat/completions", json=ask)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
