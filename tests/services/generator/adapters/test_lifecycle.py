"""Adapters come, go and come back: places, pins, draining, and what is remembered of them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from services.common.db import Database
from services.generator import storage
from services.generator.adapters.refusal import AdapterNoEffect
from services.generator.models import AdapterRow
from tests.services.generator.adapters.test_keeper import chat, eventually, load, shown
from tests.services.generator.conftest import BASE, StartGenerator
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_adapter
from tests.services.generator.upstream import Upstream


@pytest.fixture
def two_places(start_generator: StartGenerator, upstream: Upstream, registry: Registry) -> str:
    return start_generator(upstream.url, trainer_url=registry.url, max_cpu_loras=2)


def pin(generator: str, name: str, pinned: bool = True) -> httpx.Response:
    body = {"name": name, "pinned": pinned}
    return httpx.post(f"{generator}/v1/adapters", json=body, timeout=60)


def status(generator: str, name: str) -> str:
    return str(shown(generator, name)["status"])


def trials(generator: str, name: str) -> list[dict[str, Any]]:
    answer = httpx.get(f"{generator}/v1/adapters/{name}/trials", params={"limit": 100})
    assert answer.status_code == 200
    return list(answer.json()["data"])


@contextmanager
def streaming(generator: str, model: str) -> Iterator[Iterator[bytes]]:
    """An answer that has begun; what is left of it is yielded."""
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    url = f"{generator}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60) as answer:
        assert answer.status_code == 200
        blocks = answer.iter_raw()
        next(blocks)
        yield blocks


@pytest.mark.parametrize(
    ("fault", "shows"), [("hangs_loading", "loading"), ("hangs_proving", "proving")]
)
def test_the_status_says_how_far_an_adapter_is(
    generator: str, adapters: list[str], upstream: Upstream, fault: str, shows: str
) -> None:
    upstream.fault = fault
    asking = threading.Thread(target=chat, args=[generator, adapters[0]])
    asking.start()
    eventually(lambda: shown(generator, adapters[0]).get("status") == shows)
    upstream.go_on.set()
    asking.join()
    eventually(lambda: status(generator, adapters[0]) == "loaded")


def test_what_nobody_wants_is_unloaded_and_what_others_loaded_is_left_alone(
    generator: str, adapters: list[str], upstream: Upstream, tmp_path: Path
) -> None:
    load(generator, adapters[0])
    upstream.adapters["ft:left-behind"] = tmp_path / "cache" / "ftjob-left-behind"
    upstream.adapters["the-operators-own"] = tmp_path / "elsewhere"
    eventually(lambda: "ft:left-behind" not in upstream.adapters)
    assert set(upstream.adapters) == {adapters[0], "the-operators-own"}


def test_the_least_recently_used_goes_and_comes_back_when_it_is_asked(
    two_places: str, adapters: list[str], upstream: Upstream
) -> None:
    first, second, third = adapters
    assert {chat(two_places, name).status_code for name in (first, second, first)} == {200}
    assert chat(two_places, third).status_code == 200
    assert set(upstream.adapters) == {first, third}
    assert status(two_places, second) == "evicted"
    assert chat(two_places, second).status_code == 200
    assert set(upstream.adapters) == {second, third}
    assert status(two_places, first) == "evicted"
    assert upstream.most_held == 2


def test_a_pinned_adapter_stays(two_places: str, adapters: list[str], upstream: Upstream) -> None:
    first, second, third = adapters
    assert pin(two_places, first).json()["pinned"]
    load(two_places, second)
    assert load(two_places, third).status_code == 200
    assert set(upstream.adapters) == {first, third}


def test_where_all_are_pinned_the_next_is_told_what_to_do(
    two_places: str, adapters: list[str], upstream: Upstream
) -> None:
    first, second, third = adapters
    pin(two_places, first), pin(two_places, second)
    for refused in (load(two_places, third), chat(two_places, third)):
        assert refused.status_code == 503
        error = refused.json()["error"]
        assert error["code"] == "no_adapter_place"
        assert "--max-cpu-loras" in error["message"]
    assert set(upstream.adapters) == {first, second}
    pin(two_places, first, pinned=False)
    assert chat(two_places, third).status_code == 200


def test_a_bad_adapter_puts_nobody_out(
    two_places: str, adapters: list[str], upstream: Upstream, registry: Registry, tmp_path: Path
) -> None:
    load(two_places, adapters[0]), load(two_places, adapters[1])
    name = f"ft:{BASE}:demo:ftjob-9"
    registry.add(name, tiny_adapter(tmp_path / "big", base_model=BASE, rank=64), base_model=BASE)
    assert load(two_places, name).json()["error"]["code"] == "adapter_incompatible"
    assert set(upstream.adapters) == set(adapters[:2])


def test_unloading_waits_for_answers_under_way_and_lets_no_new_one_begin(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry, adapters: list[str]
) -> None:
    name = adapters[0]
    url = start_generator(upstream.url, trainer_url=registry.url)
    load(url, name)
    upstream.hold.clear()
    with streaming(url, name) as rest:
        leaving = threading.Thread(target=httpx.delete, args=[f"{url}/v1/adapters/{name}"])
        leaving.start()
        eventually(lambda: status(url, name) == "draining")
        assert name in upstream.adapters
        upstream.hold.set()
        assert b"[DONE]" in b"".join(rest)
        leaving.join()
    assert (status(url, name), upstream.adapters) == ("unloaded", {})


def test_draining_has_an_end(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry, adapters: list[str]
) -> None:
    name = adapters[0]
    url = start_generator(upstream.url, trainer_url=registry.url, drain_seconds=0.1)
    load(url, name)
    upstream.hold.clear()
    with streaming(url, name) as rest:
        httpx.delete(f"{url}/v1/adapters/{name}", timeout=30)
        assert (status(url, name), upstream.adapters) == ("unloaded", {})
        upstream.hold.set()
        assert b"[DONE]" in b"".join(rest), "the answer under way is finished all the same"


def test_each_proof_is_kept_and_repeated_after_a_restart_that_nobody_saw(
    generator: str, adapters: list[str], upstream: Upstream
) -> None:
    name = adapters[0]
    before = load(generator, name).json()["proofs"]
    assert [proof["replica"] for proof in before] == [upstream.url]
    upstream.started_at += 1  # and somebody else has loaded the adapter again
    eventually(lambda: len(trials(generator, name)) == 2)
    eventually(lambda: status(generator, name) == "loaded")
    (after,) = shown(generator, name)["proofs"]
    assert after["replica_started_at"] == before[0]["replica_started_at"] + 1
    newest, oldest = trials(generator, name)
    assert (newest["proof"], oldest["proof"]) == (after, before[0])
    assert upstream.loads == [name]


def test_a_replica_that_serves_the_base_after_a_restart_leaves_its_refusal(
    generator: str, adapters: list[str], upstream: Upstream
) -> None:
    load(generator, adapters[0])
    upstream.fault = "serves_base"
    upstream.restart()
    eventually(lambda: status(generator, adapters[0]) == "failed")
    newest = trials(generator, adapters[0])[0]
    assert (newest["proof"], newest["error"]["code"]) == (None, "adapter_no_effect")
    assert newest["replica"] == upstream.url


def test_of_many_proofs_the_last_are_kept(
    database_url: str, generator: str, adapters: list[str], registry: Registry
) -> None:
    db = Database(database_url, pool_size=1)
    record = registry.records[adapters[0]]
    with db.transaction() as session:
        for number in range(storage.TRIALS_KEPT + 5):
            storage.add_trial(session, record, "http://one", AdapterNoEffect(str(number)))
        storage.add_trial(session, record, "http://two", AdapterNoEffect("?"))
    db.close()
    kept = trials(generator, record.id)
    assert len(kept) == storage.TRIALS_KEPT + 1
    assert min(int(trial["error"]["message"]) for trial in kept[1:]) == 5


def test_when_adapters_were_asked_is_written_back_and_never_goes_back(
    database_url: str, generator: str, adapters: list[str]
) -> None:
    name = adapters[0]
    load(generator, name)
    db = Database(database_url, pool_size=1)
    later = datetime.now(UTC) + timedelta(days=1)

    def last_used() -> datetime | None:
        with db.transaction() as session:
            return session.scalar(select(AdapterRow.last_used_at))

    asked_at = datetime.now(UTC)
    chat(generator, name)
    eventually(lambda: (last_used() or asked_at) > asked_at)
    with db.transaction() as session:
        storage.touch(session, {name: later, "ft:nobody": later})
        storage.touch(session, {name: later - timedelta(hours=1)})
    assert last_used() == later
    db.close()
