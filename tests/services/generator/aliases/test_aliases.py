"""Names that stand for adapters: what they answer with, who may take one, and who may not."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import create_engine, make_url, text

from services.common.db import Database
from services.generator import storage
from tests.services.generator.adapters.test_keeper import chat, eventually, load
from tests.services.generator.aliases.gates import Gates
from tests.services.generator.conftest import BASE, StartGenerator, serving
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_adapter
from tests.services.generator.upstream import Upstream

ONE, TWO = f"ft:{BASE}:demo:ftjob-1", f"ft:{BASE}:demo:ftjob-2"
LIVE, PRODUCTION = f"ft:{BASE}:live", f"ft:{BASE}:production"


@pytest.fixture
def adapters(registry: Registry, tmp_path: Path) -> dict[str, str]:
    """Two adapters in the registry, by name to the SHA-256 of their weights."""
    for seed, name in enumerate((ONE, TWO)):
        folder = tiny_adapter(tmp_path / str(seed), base_model=BASE, seed=seed)
        registry.add(name, folder, base_model=BASE)
    return {name: record.sha256 for name, record in registry.records.items()}


@pytest.fixture
def gates(database_url: str, storage_url: str) -> Iterator[Gates]:
    gates = Gates(database_url, storage_url)
    with serving(gates.app) as gates.url:
        yield gates


def point(url: str, name: str, adapter: str, **changes: Any) -> httpx.Response:
    body = {"name": name, "adapter": adapter, **changes}
    return httpx.post(f"{url}/v1/adapters/aliases", json=body, timeout=300)


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


def stands_for(url: str, name: str) -> str | None:
    adapter: str | None = httpx.get(f"{url}/v1/adapters/aliases/{name}").json().get("adapter")
    return adapter


def answers_by(url: str, model: str) -> str:
    answer = chat(url, model)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["model"])


def test_a_request_by_an_alias_is_answered_by_its_adapter(
    generator: str, upstream: Upstream, adapters: dict[str, str]
) -> None:
    made = point(generator, LIVE, ONE)
    assert made.status_code == 200, made.text
    assert (made.json()["id"], made.json()["adapter"]) == (LIVE, ONE)
    assert made.json()["sha256"] == adapters[ONE]
    upstream.bodies.clear()
    body = f'{{"messages": [],  "seed":1.0, "model" :"{LIVE}", "stop":["\\u00e9"]}}'
    for route in ("chat/completions", "completions"):
        response = httpx.post(f"{generator}/v1/{route}", content=body)
        assert response.json()["model"] == ONE
        assert response.headers["x-fineproof-model"] == ONE
        assert response.headers["x-fineproof-adapter-sha256"] == adapters[ONE]
    assert upstream.bodies == [body.replace(LIVE, ONE).encode()] * 2


def test_streams_and_cited_answers_take_an_alias_too(
    generator: str, adapters: dict[str, str]
) -> None:
    point(generator, LIVE, ONE)
    client = openai.OpenAI(base_url=f"{generator}/v1", api_key="none")
    chunks = client.chat.completions.create(model=LIVE, messages=[], stream=True)
    assert next(iter(chunks)).model == ONE
    assert client.responses.create(model=LIVE, input="Hi").model == ONE
    ask = {"question": "Why?", "condition": "closed_book", "model": LIVE}
    answer = httpx.post(f"{generator}/v1/rag/query", json=ask).json()
    assert (answer["model"], answer["adapter_sha256"]) == (ONE, adapters[ONE])
    streamed = httpx.post(f"{generator}/v1/rag/query", json={**ask, "stream": True})
    assert streamed.headers["x-fineproof-model"] == ONE


def test_models_list_base_adapters_and_aliases(generator: str, adapters: dict[str, str]) -> None:
    point(generator, LIVE, ONE)
    point(generator, f"{LIVE}-2", TWO)
    client = openai.OpenAI(base_url=f"{generator}/v1", api_key="none")
    cards: dict[str, Any] = {card.id: card for card in client.models.list()}
    assert list(cards) == [BASE, ONE, TWO, LIVE, f"{LIVE}-2"]
    assert [card.parent for card in cards.values()] == [None, BASE, BASE, ONE, TWO]
    shas = [card.sha256 for card in cards.values()]
    assert shas == [None, adapters[ONE], adapters[TWO], adapters[ONE], adapters[TWO]]
    assert {card.status for card in cards.values()} == {"loaded"}
    assert client.models.retrieve(LIVE) == cards[LIVE]


def test_aliases_page_and_remember_what_they_stood_for(
    generator: str, adapters: dict[str, str]
) -> None:
    aliases = f"{generator}/v1/adapters/aliases"
    names = [f"{LIVE}-{number}" for number in range(3)]
    for name in names:
        assert point(generator, name, ONE).status_code == 200
    first = httpx.get(aliases, params={"limit": 2, "order": "asc"}).json()
    assert ([a["id"] for a in first["data"]], first["has_more"]) == (names[:2], True)
    rest = httpx.get(aliases, params={"after": first["last_id"], "order": "asc"}).json()
    assert [alias["id"] for alias in rest["data"]] == names[2:]

    name = names[0]
    point(generator, name, TWO)
    again = point(generator, name, TWO)
    assert again.json() == httpx.get(f"{aliases}/{name}").json()
    gone = httpx.delete(f"{aliases}/{name}")
    assert gone.json() == {"id": name, "object": "adapter.alias", "deleted": True}
    assert code_of(httpx.delete(f"{aliases}/{name}")) == (404, "alias_not_found")
    assert code_of(httpx.get(f"{aliases}/{name}")) == (404, "alias_not_found")
    assert code_of(chat(generator, name)) == (404, "model_not_found")
    history = httpx.get(f"{aliases}/{name}/history", params={"order": "asc"}).json()["data"]
    assert [change["adapter"] for change in history] == [ONE, TWO, None]
    assert [change["sha256"] for change in history] == [adapters[ONE], adapters[TWO], None]
    assert {change["created_by"] for change in history} == {"local"}
    never = httpx.get(f"{aliases}/ft:never-was:production/history")
    assert code_of(never) == (404, "alias_not_found")


def test_every_replica_has_the_adapter_before_the_alias_moves(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    adapters: dict[str, str],
) -> None:
    other = Upstream(BASE)
    with serving(other.app) as other_url:
        url = start_generator(
            upstream.url, vllm_urls=[upstream.url, other_url], trainer_url=registry.url
        )
        assert point(url, LIVE, ONE).status_code == 200
        assert set(upstream.adapters) == set(other.adapters) == {ONE}
        other.fault = "serves_base"
        # Which of the two depends on whether the replica was given another try meanwhile.
        refusals = {(409, "adapter_not_served"), (422, "adapter_no_effect")}
        assert code_of(point(url, LIVE, TWO)) in refusals
        assert stands_for(url, LIVE) == answers_by(url, LIVE) == ONE


def test_an_adapter_that_is_refused_or_unknown_moves_no_alias(
    generator: str, upstream: Upstream, adapters: dict[str, str]
) -> None:
    point(generator, LIVE, ONE)
    upstream.fault = "serves_base"
    assert code_of(point(generator, LIVE, TWO)) == (422, "adapter_no_effect")
    upstream.fault = None
    unknown = f"ft:{BASE}:demo:ftjob-9"
    assert code_of(point(generator, LIVE, unknown)) == (404, "adapter_not_found")
    assert stands_for(generator, LIVE) == answers_by(generator, LIVE) == ONE


def test_an_alias_hides_no_model(generator: str, adapters: dict[str, str]) -> None:
    load(generator, ONE)
    for name in (ONE, TWO):  # of which the second was registered and never asked for
        assert code_of(point(generator, name, ONE)) == (422, "name_taken")
    for name in (BASE, "gpt-4", "ft:", "ft:a b", "ft:é", "ft:" + "x" * 191):
        assert code_of(point(generator, name, ONE)) == (400, "invalid_alias"), name
    for name in ("", "ft:a/b", "ft:a?b", "ft:\x00", 7, None):
        assert point(generator, name, ONE).status_code == 400, name  # type: ignore[arg-type]
    assert httpx.get(f"{generator}/v1/adapters/aliases").json()["data"] == []


def test_an_adapter_that_an_alias_stands_for_stays(
    generator: str, database_url: str, upstream: Upstream, adapters: dict[str, str]
) -> None:
    point(generator, LIVE, ONE)
    client = openai.OpenAI(base_url=f"{generator}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.ConflictError, match=LIVE):
        client.models.delete(ONE)
    refused = httpx.delete(f"{generator}/v1/adapters/{ONE}")
    assert code_of(refused) == (409, "adapter_has_alias")
    db = Database(database_url, pool_size=1)
    with db.transaction() as session:
        assert storage.kept_names(session) == {ONE}
    point(generator, LIVE, TWO)
    with db.transaction() as session:
        assert storage.kept_names(session) == {TWO}
    db.close()
    assert set(upstream.adapters) == {ONE, TWO}, "the old one is there for whoever is under way"
    deleted = client.models.delete(ONE)
    assert (deleted.id, deleted.object, deleted.deleted) == (ONE, "model", True)
    eventually(lambda: set(upstream.adapters) == {TWO})


def test_neither_the_base_model_nor_an_alias_is_deleted_as_a_model(
    generator: str, adapters: dict[str, str]
) -> None:
    point(generator, LIVE, ONE)
    models = f"{generator}/v1/models"
    assert code_of(httpx.delete(f"{models}/{BASE}")) == (400, "model_not_deletable")
    assert code_of(httpx.delete(f"{models}/{LIVE}")) == (400, "model_is_alias")
    assert code_of(httpx.delete(f"{models}/ft:a:b:c")) == (404, "adapter_not_found")
    assert answers_by(generator, LIVE) == ONE


def test_a_protected_alias_is_for_adapters_that_passed_a_gate(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    gates: Gates,
    adapters: dict[str, str],
) -> None:
    url = start_generator(upstream.url, trainer_url=registry.url, evaluator_url=gates.url)
    assert code_of(point(url, PRODUCTION, ONE)) == (422, "gate_required")
    other = gates.add(TWO, adapters[TWO])
    for gate, code in (
        (gates.add(ONE, adapters[ONE], passed=False), "gate_not_passed"),
        (gates.add(ONE, "0" * 64), "gate_mismatch"),
        (other, "gate_mismatch"),
        ({**other, "gate_id": "gate_none"}, "gate_not_found"),
        ({**other, "experiment_id": "exp_2"}, "gate_not_found"),
    ):
        assert code_of(point(url, PRODUCTION, ONE, gate=gate)) == (422, code), gate
    assert code_of(httpx.get(f"{url}/v1/adapters/aliases/{PRODUCTION}"))[0] == 404
    for wrong in ({}, {"experiment_id": "exp_1"}, {**other, "gate_id": "../../x"}, "gate_1"):
        assert point(url, PRODUCTION, ONE, gate=wrong).status_code == 400, wrong

    passed = gates.add(ONE, adapters[ONE])
    made = point(url, PRODUCTION, ONE, gate=passed)
    assert made.status_code == 200, made.text
    assert (made.json()["protected"], made.json()["gate"]) == (True, passed)
    assert answers_by(url, PRODUCTION) == ONE
    assert code_of(point(url, PRODUCTION, TWO)) == (422, "gate_required")
    assert point(url, PRODUCTION, TWO, gate=other).status_code == 200
    assert answers_by(url, PRODUCTION) == TWO
    history = httpx.get(f"{url}/v1/adapters/aliases/{PRODUCTION}/history").json()["data"]
    assert [change["gate"] for change in history] == [other, passed]


def test_a_gate_that_is_named_must_have_been_passed_for_any_alias(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    gates: Gates,
    adapters: dict[str, str],
) -> None:
    url = start_generator(upstream.url, trainer_url=registry.url, evaluator_url=gates.url)
    failed = gates.add(ONE, adapters[ONE], passed=False)
    refused = point(url, LIVE, ONE, gate=failed)
    assert code_of(refused) == (422, "gate_not_passed")
    assert "HURTS" in refused.json()["error"]["message"]
    assert not point(url, LIVE, ONE).json()["protected"]


def test_without_the_evaluator_a_protected_alias_stays_where_it_is(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    gates: Gates,
    adapters: dict[str, str],
) -> None:
    url = start_generator(upstream.url, trainer_url=registry.url, evaluator_url=gates.url)
    point(url, PRODUCTION, ONE, gate=gates.add(ONE, adapters[ONE]))
    without = start_generator(
        upstream.url, trainer_url=registry.url, evaluator_url="http://127.0.0.1:9"
    )
    refused = point(without, PRODUCTION, TWO, gate=gates.add(TWO, adapters[TWO]))
    assert code_of(refused) == (503, "evaluator_unavailable")
    assert refused.headers["retry-after"]
    assert stands_for(without, PRODUCTION) == answers_by(without, PRODUCTION) == ONE


def test_which_aliases_are_protected_is_a_setting(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    adapters: dict[str, str],
) -> None:
    url = start_generator(upstream.url, trainer_url=registry.url, protected_aliases=["*:live"])
    assert code_of(point(url, LIVE, ONE)) == (422, "gate_required")
    assert point(url, PRODUCTION, ONE).status_code == 200


def test_another_process_hears_of_a_switch_from_postgresql(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    adapters: dict[str, str],
) -> None:
    here, there = (
        start_generator(upstream.url, trainer_url=registry.url, reconcile_seconds=3600)
        for _ in range(2)
    )
    for adapter in (ONE, TWO, ONE):
        point(here, LIVE, adapter)
        eventually(lambda: chat(there, LIVE).status_code == 200)
        eventually(lambda: answers_by(there, LIVE) == adapter)  # noqa: B023 - waited for here
    httpx.delete(f"{here}/v1/adapters/aliases/{LIVE}")
    eventually(lambda: chat(there, LIVE).status_code == 404)


def test_without_postgresql_the_last_known_aliases_are_served_on(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    postgres_url: str,
    database_url: str,
    adapters: dict[str, str],
) -> None:
    here, there = (start_generator(upstream.url, trainer_url=registry.url) for _ in range(2))
    point(here, LIVE, ONE)
    eventually(lambda: chat(there, LIVE).status_code == 200)
    name = make_url(database_url).database
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'alter database "{name}" with allow_connections false'))
        kill = "select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"
        connection.execute(text(kill), {"name": name})
        assert answers_by(here, LIVE) == answers_by(there, LIVE) == ONE
        assert point(here, LIVE, TWO).status_code == 503
        assert answers_by(here, LIVE) == ONE
        connection.execute(text(f'alter database "{name}" with allow_connections true'))
    admin.dispose()
    eventually(lambda: point(here, LIVE, TWO).status_code == 200)
    assert answers_by(here, LIVE) == TWO
    eventually(lambda: chat(there, LIVE).json().get("model") == TWO)


def test_a_new_process_knows_the_aliases_before_it_answers(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    adapters: dict[str, str],
) -> None:
    point(start_generator(upstream.url, trainer_url=registry.url), LIVE, ONE)
    second = start_generator(upstream.url, trainer_url="http://127.0.0.1:9")
    assert answers_by(second, LIVE) == ONE


def test_who_switches_needs_a_key_that_writes_and_is_remembered(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    adapters: dict[str, str],
) -> None:
    keys = [
        {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "scopes": scopes}
        for name, scopes in (("reader", ["read"]), ("ci", ["read", "write"]))
    ]
    url = start_generator(upstream.url, trainer_url=registry.url, mode="production", api_keys=keys)
    aliases = f"{url}/v1/adapters/aliases"
    body = json.dumps({"name": LIVE, "adapter": ONE})
    reader, writer = ({"Authorization": f"Bearer {name}"} for name in ("reader", "ci"))
    json_type = {"Content-Type": "application/json"}
    assert httpx.post(aliases, content=body, headers=json_type).status_code == 401
    assert httpx.post(aliases, content=body, headers=json_type | reader).status_code == 403
    made = httpx.post(aliases, content=body, headers=json_type | writer, timeout=60)
    assert (made.status_code, made.json()["created_by"]) == (200, "ci")
    assert httpx.get(f"{aliases}/{LIVE}", headers=reader).status_code == 200
    for path in (f"{aliases}/{LIVE}", f"{url}/v1/models/{ONE}"):
        assert httpx.delete(path, headers=reader).status_code == 403
