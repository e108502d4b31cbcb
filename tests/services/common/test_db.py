from pathlib import Path

import pytest
from sqlalchemy import func, inspect, select

from services.common.db import Database, after_commit, migrate
from tests.services.common.conftest import Work


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


def test_migrating_twice_is_migrating_once(database_url: str, migrations: Path) -> None:
    for _ in range(2):
        migrate(database_url, schema="floor", migrations=migrations)
    db = Database(database_url)
    tables = inspect(db.engine).get_table_names(schema="floor")
    db.close()
    assert sorted(tables) == ["alembic_version", "work"]
