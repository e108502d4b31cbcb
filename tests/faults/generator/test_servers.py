"""What the generator leans on goes away and comes back: PostgreSQL, Redis, a replica of vLLM."""

from pathlib import Path

import httpx
import pytest

from tests.servers import Server
from tests.services.generator.adapters.test_keeper import chat, eventually, load, shown
from tests.services.generator.conftest import BASE, StartGenerator
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_adapter
from tests.services.generator.upstream import Upstream

LOADED, COLD = f"ft:{BASE}:demo:ftjob-loaded", f"ft:{BASE}:demo:ftjob-cold"
CLOSED_BOOK = {"question": "Why?", "condition": "closed_book"}


def refusal_of(answer: httpx.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("error", {}).get("code")


class TestPostgres:
    @pytest.fixture
    def database_url(self, postgres: Server) -> str:
        return postgres.url

    @pytest.fixture
    def generator(self, generator: str, registry: Registry, tmp_path: Path) -> str:
        """With one adapter loaded, and one that was never asked for."""
        for seed, name in enumerate((LOADED, COLD)):
            folder = tiny_adapter(tmp_path / str(seed), base_model=BASE, seed=seed)
            registry.add(name, folder, base_model=BASE)
        assert load(generator, LOADED).status_code == 200
        return generator

    def test_while_it_is_away_what_is_loaded_answers_and_what_would_change_waits(
        self, generator: str, postgres: Server, upstream: Upstream
    ) -> None:
        postgres.stop()
        for model in (BASE, LOADED):
            assert chat(generator, model).status_code == 200
        answer = httpx.post(f"{generator}/v1/rag/query", json=CLOSED_BOOK)
        assert answer.json()["answer"] == "Hello there."
        assert httpx.get(f"{generator}/readyz").status_code == 200
        for refused in (
            chat(generator, COLD),
            load(generator, COLD),
            load(generator, LOADED),
            httpx.delete(f"{generator}/v1/adapters/{LOADED}"),
            httpx.get(f"{generator}/v1/adapters"),
        ):
            assert refused.status_code == 503
            assert refused.json()["error"]["type"] == "service_unavailable_error"
            assert refused.headers["retry-after"]
        assert set(upstream.adapters) == {LOADED}, "nothing was half done"
        postgres.start()
        assert chat(generator, COLD).status_code == 200
        assert httpx.delete(f"{generator}/v1/adapters/{LOADED}").status_code == 200
        assert set(upstream.adapters) == {COLD}

    def test_a_vllm_that_restarts_meanwhile_gets_its_adapters_once_it_is_back(
        self, generator: str, postgres: Server, upstream: Upstream
    ) -> None:
        postgres.stop()
        upstream.restart()
        eventually(lambda: chat(generator, LOADED).status_code == 503)
        assert refusal_of(chat(generator, LOADED)) == (503, "database_unavailable")
        assert chat(generator, BASE).status_code == 200
        postgres.start()
        eventually(lambda: LOADED in upstream.adapters)
        eventually(lambda: shown(generator, LOADED)["status"] == "loaded")
        assert chat(generator, LOADED).status_code == 200


def test_without_redis_answers_go_on_and_limits_hold(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    redis: Server,
    tmp_path: Path,
) -> None:
    url = start_generator(
        upstream.url,
        trainer_url=registry.url,
        redis_url=redis.url,
        default_limits={"requests_per_minute": 2},
    )
    registry.add(LOADED, tiny_adapter(tmp_path / "one", base_model=BASE), base_model=BASE)
    assert chat(url, BASE).status_code == 200
    redis.stop()
    assert load(url, LOADED).status_code == 200
    assert chat(url, LOADED).status_code == 200
    assert httpx.get(f"{url}/readyz").status_code == 200
    eventually(lambda: refusal_of(chat(url, BASE)) == (429, "rate_limit_exceeded"))
    assert httpx.delete(f"{url}/v1/adapters/{LOADED}").status_code == 200
