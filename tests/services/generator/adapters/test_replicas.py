"""Several model servers behind one generator, and several generators before one."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from services.common.db import Database
from services.generator import storage
from tests.conftest import free_port
from tests.services.generator.adapters.test_keeper import chat, eventually, load, shown
from tests.services.generator.adapters.test_lifecycle import status, trials
from tests.services.generator.conftest import BASE, StartGenerator, serving
from tests.services.generator.registry import Registry
from tests.services.generator.upstream import Upstream


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
