"""A table that nobody may read for a while: what asks for it is in mid-flight, without a race."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import text

from services.common.db import Database
from tests.services.trainer.workers import wait_for


@contextmanager
def locked(db: Database, table: str) -> Iterator[None]:
    connection = db.engine.connect()
    connection.execute(text(f"lock table retriever.{table} in access exclusive mode"))
    try:
        yield
    finally:
        connection.invalidate()  # PostgreSQL may have gone meanwhile
        connection.close()


def wait_until_blocked(db: Database) -> None:
    """Until some statement waits for a lock."""
    waiting = text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")

    def blocked() -> bool:
        with db.engine.connect() as connection:
            return bool(connection.scalar(waiting))

    wait_for(blocked)
