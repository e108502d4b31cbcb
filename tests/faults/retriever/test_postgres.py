"""PostgreSQL restarts: in the middle of searches, of what comes in, and of the worker's work."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select, text

from services.retriever.models import Passage, PassageVector
from tests.faults.retriever.locks import locked, wait_until_blocked
from tests.faults.retriever.workers import ingestion_when, worker
from tests.servers import Server
from tests.services.retriever.conftest import Retriever, running, settings_of
from tests.services.trainer.workers import wait_for

ASK = {"query": "Which crate is on shelf 3?"}


def crates(count: int) -> list[dict[str, Any]]:
    return [{"id": str(n), "text": f"Crate {n} is on shelf {n % 7}."} for n in range(count)]


@pytest.fixture
def retriever(postgres: Server, redis_url: str) -> Iterator[Retriever]:
    """Over a PostgreSQL of its own."""
    with running(settings_of(postgres.url, redis_url)) as retriever:
        yield retriever


def assert_told_to_come_back(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "database_unavailable"
    assert int(answer.headers["retry-after"]) >= 1


def search(retriever: Retriever, store_id: str) -> httpx.Response:
    return retriever.http.post(f"/v1/vector_stores/{store_id}/search", json=ASK)


def stored(retriever: Retriever, store_id: str, table: Any = Passage) -> int:
    with retriever.db.transaction() as session:
        count = select(func.count()).where(table.store_id == store_id)
        return session.scalar(count) or 0


def test_searches_are_503_while_it_is_away_and_answered_once_it_is_back(
    retriever: Retriever, postgres: Server
) -> None:
    store_id = retriever.fill(crates(50))
    outcomes: Counter[int] = Counter()
    enough = Event()

    def keep_asking() -> None:
        while not enough.is_set():
            answer = search(retriever, store_id)
            outcomes[answer.status_code] += 1
            if answer.status_code != 200:
                assert_told_to_come_back(answer)

    with ThreadPoolExecutor(4) as callers:
        asking = [callers.submit(keep_asking) for _ in range(4)]
        try:
            wait_for(lambda: outcomes[200] >= 8)
            postgres.stop()
            wait_for(lambda: outcomes[503] >= 8)
            assert retriever.http.get("/healthz").status_code == 200
            assert_told_to_come_back(retriever.http.get("/readyz"))
            postgres.start()
            answered = outcomes[200]
            wait_for(lambda: outcomes[200] >= answered + 8)
        finally:
            enough.set()
    for each in asking:
        each.result()
    assert set(outcomes) == {200, 503}


def test_a_search_that_it_is_computing_is_503(retriever: Retriever, postgres: Server) -> None:
    store_id = retriever.fill(crates(5))
    with ThreadPoolExecutor(1) as caller:
        with locked(retriever.db, "passage_vectors"):
            asking = caller.submit(search, retriever, store_id)
            wait_until_blocked(retriever.db)
            postgres.stop()
        assert_told_to_come_back(asking.result())
    postgres.start()
    assert search(retriever, store_id).status_code == 200


def test_passages_on_their_way_are_refused_whole_and_taken_again(
    retriever: Retriever, postgres: Server
) -> None:
    store_id = retriever.store()
    path = f"/v1/vector_stores/{store_id}/passages"

    def body() -> Iterator[bytes]:
        yield b'{"id": "a", "text": "The first."}\n'
        postgres.stop()
        yield b'{"id": "b", "text": "The second."}\n'

    assert_told_to_come_back(retriever.http.post(path, content=body()))
    postgres.start()
    assert stored(retriever, store_id) == 0
    retriever.embed(retriever.send(store_id, crates(2))["id"])
    assert stored(retriever, store_id, PassageVector) == 2


def test_passages_that_are_being_copied_are_refused_whole(
    retriever: Retriever, postgres: Server
) -> None:
    store_id = retriever.store()
    lines = "".join(f'{{"id": "{n}", "text": "Crate {n}."}}\n' for n in range(200_000))
    copying = text("select count(*) from pg_stat_progress_copy")

    def is_copying() -> bool:
        with retriever.db.engine.connect() as connection:
            return bool(connection.scalar(copying))

    with ThreadPoolExecutor(1) as caller:
        sending = caller.submit(
            retriever.http.post, f"/v1/vector_stores/{store_id}/passages", content=lines
        )
        while not is_copying():
            assert not sending.done(), "it was over before it was seen"
        postgres.stop()
        assert_told_to_come_back(sending.result())
    postgres.start()
    assert stored(retriever, store_id) == 0


def test_a_worker_goes_on_where_it_was(
    retriever: Retriever, postgres: Server, tmp_path: Path
) -> None:
    passages = crates(1_000)
    store_id = retriever.store()
    sent = retriever.send(store_id, passages)
    with worker(retriever.settings, tmp_path):
        begun = ingestion_when(retriever, sent, lambda now: now["embedded"] > 0)
        postgres.stop()
        postgres.start()
        done = ingestion_when(retriever, sent, lambda now: now["status"] != "in_progress")
    assert 0 < begun["embedded"] < len(passages)
    assert (done["status"], done["embedded"]) == ("completed", len(passages))
    assert stored(retriever, store_id) == stored(retriever, store_id, PassageVector) == 1_000
