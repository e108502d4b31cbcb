"""Adapters come, go and come back: places, pins, draining, replicas and other generators."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
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
from tests.conftest import free_port
from tests.services.generator.adapters.test_keeper import chat, eventually, load, shown
from tests.services.generator.conftest import BASE, StartGenerator, serving
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_adapter
from tests.services.generator.upstream import Upstream


@pytest.fixture
def adapters(registry: Registry, tmp_path: Path) -> list[str]:
    """Names of three sound adapters."""
    names = [f"ft:{BASE}:demo:ftjob-{number}" for number in range(3)]
    for number, name in enumerate(names):
        folder = tiny_adapter(tmp_path / str(number), base_model=BASE, seed=number)
        registry.add(name, folder, base_model=BASE)
    return names


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


@pytest.fixture
def dns(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses behind ``vllm.test``; none at all: the name cannot be resolved."""
    addresses: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host != "vllm.test":
            return real(host, port, *args, **options)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, int(port)))
            for address in addresses
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return addresses


StartReplica = Callable[[str], Upstream]


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def start_replica(port: int) -> Iterator[StartReplica]:
    """``start_replica("127.0.0.2")``: model servers with one port and an address each."""
    with ExitStack() as running:

        def start(address: str) -> Upstream:
            upstream = Upstream(BASE)
            upstream.url = running.enter_context(serving(upstream.app, address, port))
            return upstream

        yield start


def test_replicas_behind_a_name_come_and_go_and_each_is_proven_before_it_is_asked(
    start_generator: StartGenerator,
    start_replica: StartReplica,
    registry: Registry,
    adapters: list[str],
    dns: list[str],
    port: int,
) -> None:
    one, two = start_replica("127.0.0.1"), start_replica("127.0.0.2")
    dns.append("127.0.0.1")
    url = start_generator("", vllm_names=[f"http://vllm.test:{port}"], trainer_url=registry.url)
    assert len(load(url, adapters[0]).json()["proofs"]) == 1

    dns.append("127.0.0.2")
    eventually(lambda: len(shown(url, adapters[0])["proofs"]) == 2)
    assert {proof["replica"] for proof in shown(url, adapters[0])["proofs"]} == {one.url, two.url}
    assert (one.loads, two.loads) == ([adapters[0]], [adapters[0]])
    assert status(url, adapters[0]) == "loaded"

    dns.remove("127.0.0.1")
    eventually(lambda: [p["replica"] for p in shown(url, adapters[0])["proofs"]] == [two.url])
    asked = len(one.bodies)
    assert {chat(url, name).status_code for name in (BASE, *adapters)} == {200}
    assert len(one.bodies) == asked

    dns.clear()  # the name server is away: what is known is served on
    asked = two.looks
    eventually(lambda: two.looks > asked + 1)
    assert chat(url, adapters[0]).status_code == 200


def test_a_replica_that_cannot_prove_an_adapter_is_never_asked_for_it(
    start_generator: StartGenerator,
    start_replica: StartReplica,
    registry: Registry,
    adapters: list[str],
) -> None:
    name = adapters[0]
    one, two = start_replica("127.0.0.1"), start_replica("127.0.0.2")
    two.fault = "serves_base"
    url = start_generator("", vllm_urls=[one.url, two.url], trainer_url=registry.url)
    assert [proof["replica"] for proof in load(url, name).json()["proofs"]] == [one.url]
    seen = two.looks
    eventually(lambda: two.looks > seen + 2)
    assert two.loads == [name], "it is not tried again and again"
    assert two.adapters == {}
    assert {chat(url, name).status_code for _ in range(6)} == {200}
    assert not [body for body in two.bodies if b'"messages"' in body]
    refusal = next(trial for trial in trials(url, name) if trial["replica"] == two.url)
    assert refusal["error"]["code"] == "adapter_no_effect"

    two.fault = None
    two.restart()
    eventually(lambda: len(shown(url, name)["proofs"]) == 2)


def test_a_replica_that_hangs_keeps_nobody_waiting_for_another(
    start_generator: StartGenerator,
    start_replica: StartReplica,
    registry: Registry,
    adapters: list[str],
) -> None:
    one, two = start_replica("127.0.0.1"), start_replica("127.0.0.2")
    two.fault = "hangs_loading"
    url = start_generator("", vllm_urls=[one.url, two.url], trainer_url=registry.url)
    assert chat(url, adapters[0]).status_code == 200
    assert (set(one.adapters), two.adapters) == ({adapters[0]}, {})
    two.go_on.set()
    eventually(lambda: len(shown(url, adapters[0])["proofs"]) == 2)


def test_two_generators_that_share_a_model_server_load_once(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry, adapters: list[str]
) -> None:
    name = adapters[0]
    urls = [start_generator(upstream.url, trainer_url=registry.url) for _ in range(2)]
    threads = [threading.Thread(target=chat, args=[url, name]) for url in urls * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [chat(url, name).status_code for url in urls] == [200, 200]
    assert upstream.loads == [name]
    httpx.delete(f"{urls[0]}/v1/adapters/{name}", timeout=60)
    assert upstream.adapters == {}
    assert chat(urls[1], name).status_code == 200, "asked again, it comes back"


def test_what_another_generator_unloads_while_it_is_asked_comes_back(
    start_generator: StartGenerator, upstream: Upstream, registry: Registry, adapters: list[str]
) -> None:
    """Also where this one has found it gone by the time the model server says so."""
    name = adapters[0]
    urls = [start_generator(upstream.url, trainer_url=registry.url) for _ in range(2)]
    assert [chat(url, name).status_code for url in urls] == [200, 200]
    upstream.fault, asked = "hangs_asked", len(upstream.bodies)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(chat, urls[1], name)
        eventually(lambda: len(upstream.bodies) > asked)
        httpx.delete(f"{urls[0]}/v1/adapters/{name}", timeout=60).raise_for_status()
        looks = upstream.looks
        eventually(lambda: upstream.looks >= looks + 6)
        upstream.go_on.set()
        assert answer.result().status_code == 200
    assert upstream.loads == [name, name]


def test_what_a_generator_that_died_left_half_done_is_finished(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    adapters: list[str],
    database_url: str,
) -> None:
    load(
        start_generator(upstream.url, trainer_url=registry.url, reconcile_seconds=3600), adapters[0]
    )
    db = Database(database_url, pool_size=1)
    with db.transaction() as session:
        storage.set_status(session, adapters[0], "draining")
    db.close()
    second = start_generator(upstream.url, trainer_url=registry.url)
    eventually(lambda: upstream.adapters == {})
    eventually(lambda: status(second, adapters[0]) == "unloaded")
