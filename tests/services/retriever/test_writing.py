"""Writes to a store that another writer has locked, as a worker does that reads a long file."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, cast

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from services.common import leases
from services.common.db import Database
from services.common.ids import new_id, now
from services.retriever import ingestion, models, storage
from services.retriever.embedding import Embedder
from services.retriever.rows import Row
from services.retriever.writing import Writes
from tests.services.retriever.conftest import Retriever

# What a request must not take here: a wait for a connection is ten.
SECONDS = 8


@contextmanager
def locked(retriever: Retriever, store_id: str) -> Iterator[None]:
    with retriever.db.transaction() as session:
        storage.lock_store(session, store_id)
        yield


def test_writers_that_wait_leave_connections_to_the_others(retriever: Retriever) -> None:
    busy, other = retriever.store(), retriever.fill([{"id": "a", "text": "A pump."}])
    writers = 3 * retriever.settings.database_pool_size

    def write(number: int) -> int:
        body = {"metadata": {"number": str(number)}}
        return retriever.http.post(f"/v1/vector_stores/{busy}", json=body).status_code

    with ThreadPoolExecutor(writers) as threads:
        with locked(retriever, busy):
            written = [threads.submit(write, number) for number in range(writers)]
            for _ in range(5):
                for path in ("/readyz", f"/v1/vector_stores/{other}"):
                    assert retriever.http.get(path, timeout=SECONDS).status_code == 200
            renamed = retriever.http.post(
                f"/v1/vector_stores/{other}", json={"name": "b"}, timeout=SECONDS
            )
            assert renamed.status_code == 200
            assert not any(each.done() for each in written)
        assert {each.result() for each in written} == {200}


def test_a_write_that_fails_lets_the_next_one_in() -> None:
    class Failing:
        async def transact(self, work: Any) -> Any:
            return work(None)

    def fail(_: Session) -> None:
        raise ValueError("no")

    async def both() -> str:
        writes = Writes(cast(Database, Failing()), most=1)
        with pytest.raises(ValueError, match="no"):
            await writes.transact("vs_1", fail)
        return await writes.transact("vs_1", lambda _: "written")

    assert asyncio.run(asyncio.wait_for(both(), SECONDS)) == "written"


class LongFile:
    """A file of ten passages; it stops before the third until it may go on."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.told = 0

    @contextmanager
    def lines(self, embedder: Embedder, file_id: str) -> Iterator[Iterator[Row]]:
        yield self._rows()

    def _rows(self) -> Iterator[Row]:
        for number in range(10):
            if number == 2:
                self.begun.set()
                assert self.go_on.wait(60)
            self.told += 1
            yield Row(number, f"p{number}", f"p{number}", "", f"Text {number}.", "{}")

    def document(self, embedder: Embedder, file: models.StoreFile) -> Any:
        raise AssertionError("it is no document")


@pytest.fixture
def long_file() -> Iterator[LongFile]:
    file = LongFile()
    yield file
    file.go_on.set()


def of_file(retriever: Retriever, store_id: str) -> str:
    ingestion_id = new_id("ing")
    with retriever.db.transaction() as session:
        row = models.Ingestion(
            id=ingestion_id,
            store_id=store_id,
            created_at=now(),
            status="in_progress",
            received=0,
            embedded=0,
            file_id="file-long",
            staged=False,
        )
        storage.add(session, row)
    return ingestion_id


@contextmanager
def reading(retriever: Retriever, ingestion_id: str, file: LongFile) -> Iterator[None]:
    """While a worker is in the middle of the file."""

    def work() -> None:
        ingestion.embed(retriever.db, retriever.embedder, ingestion_id, source=file)

    thread = threading.Thread(target=work)
    thread.start()
    assert file.begun.wait(60)
    yield
    file.go_on.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_lease_is_renewed_while_a_long_file_is_read(
    retriever: Retriever, long_file: LongFile
) -> None:
    store_id = retriever.store()
    ingestion_id = of_file(retriever, store_id)
    with reading(retriever, ingestion_id, long_file), retriever.db.transaction() as session:
        session.execute(text(f"set local lock_timeout = '{SECONDS}s'"))
        row = storage.ingestion(session, store_id, ingestion_id)
        assert row.lease_owner is not None
        assert leases.renew(
            session,
            models.Ingestion,
            ingestion_id,
            owner=row.lease_owner,
            statuses=ingestion.RUNNING,
        )
    told = retriever.http.get(f"/v1/vector_stores/{store_id}/ingestions/{ingestion_id}").json()
    assert (told["status"], told["received"], told["embedded"]) == ("completed", 10, 10)


def test_a_long_file_is_cancelled_in_the_middle_and_read_anew_later(
    retriever: Retriever, long_file: LongFile
) -> None:
    store_id = retriever.store()
    ingestion_id = of_file(retriever, store_id)
    url = f"/v1/vector_stores/{store_id}/ingestions/{ingestion_id}"
    with reading(retriever, ingestion_id, long_file):
        answer = retriever.http.post(f"{url}/cancel", timeout=SECONDS)
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    told = retriever.http.get(url).json()
    assert (told["status"], told["received"], told["embedded"]) == ("cancelled", 0, 0)

    assert retriever.http.post(f"{url}/resume").json()["status"] == "in_progress"
    ingestion.embed(retriever.db, retriever.embedder, ingestion_id, source=long_file)
    told = retriever.http.get(url).json()
    assert (told["status"], told["received"], told["embedded"]) == ("completed", 10, 10)
