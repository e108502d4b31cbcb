from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import func, inspect, select, text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from services.common.db import Database, Reader, after_commit, migrate
from tests.services.common.conftest import Work


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[Reader]:
    reader = Reader(database_url, pool_size=1)
    yield reader
    await reader.aclose()


def test_what_waits_for_the_commit_runs_after_it(db: Database) -> None:
    seen: list[int] = []

    def count_rows() -> None:
        with db.transaction() as other:
            seen.append(other.scalar(select(func.count()).select_from(Work)) or 0)

    with db.transaction() as session:
        session.add(Work(id="a"))
        after_commit(session, count_rows)
        session.flush()
        assert seen == []
    assert seen == [1]


def test_a_rolled_back_transaction_sends_nothing(db: Database) -> None:
    seen: list[str] = []

    def fail() -> None:
        with db.transaction() as session:
            after_commit(session, lambda: seen.append("sent"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert seen == []


def test_a_failing_callback_does_not_undo_the_commit(db: Database) -> None:
    def broker_is_away() -> None:
        raise ConnectionError

    with db.transaction() as session:
        session.add(Work(id="a"))
        after_commit(session, broker_is_away)
    with db.transaction() as session:
        assert session.get(Work, "a") is not None


@pytest.mark.parametrize("where", ["transact", "on_loop"])
async def test_a_reader_does_its_work_again_on_a_new_connection(
    db: Database, reader: Reader, where: str
) -> None:
    def process(session: Session) -> int:
        return int(session.scalars(text("select pg_backend_pid()")).one())

    ask = getattr(reader, where)
    first = await ask(process)
    with db.transaction() as session:
        session.execute(text("select pg_terminate_backend(:pid, 5000)"), {"pid": first})
    assert await ask(process) != first


async def test_a_reader_does_not_repeat_what_fails_by_itself(reader: Reader) -> None:
    times = 0

    def divide(session: Session) -> None:
        nonlocal times
        times += 1
        session.execute(text("select 1 / 0"))

    for ask in (reader.transact, reader.on_loop):
        with pytest.raises(DataError):
            await ask(divide)
    assert times == 2


async def test_a_reader_s_statements_are_transactions_of_their_own(reader: Reader) -> None:
    def moments(session: Session) -> set[object]:
        return {session.scalars(text("select now()")).one() for _ in range(2)}

    assert len(await reader.transact(moments)) == 2
    assert len(await reader.on_loop(moments)) == 2


def test_migrating_twice_is_migrating_once(database_url: str, migrations: Path) -> None:
    for _ in range(2):
        migrate(database_url, schema="floor", migrations=migrations)
    db = Database(database_url)
    tables = inspect(db.engine).get_table_names(schema="floor")
    db.close()
    assert sorted(tables) == ["alembic_version", "work"]
