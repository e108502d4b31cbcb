"""The SQL of aliases, and how processes hear of each other's."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from services.common.contracts.aliases import AliasCreate
from services.common.ids import new_id
from services.common.pagination import Cursor, page_of
from services.generator import storage
from services.generator.models import AdapterRow, AliasChangeRow, AliasRow

CHANNEL = "generator_aliases"


def alias(session: Session, name: str) -> AliasRow | None:
    return session.get(AliasRow, name)


def aliases_page(session: Session, cursor: Cursor) -> tuple[list[AliasRow], bool]:
    return page_of(session, select(AliasRow), AliasRow.name, cursor)


def all_aliases(session: Session) -> Sequence[AliasRow]:
    return session.scalars(select(AliasRow).order_by(AliasRow.name)).all()


def names_of(session: Session, adapter: str) -> Sequence[str]:
    """The aliases of an adapter."""
    asked = select(AliasRow.name).where(AliasRow.adapter == adapter)
    return session.scalars(asked.order_by(AliasRow.name)).all()


def changes_page(session: Session, name: str, cursor: Cursor) -> tuple[list[AliasChangeRow], bool]:
    asked = select(AliasChangeRow).where(AliasChangeRow.alias == name)
    return page_of(session, asked, AliasChangeRow.id, cursor)


def point(session: Session, ask: AliasCreate, sha256: str, caller: str) -> AliasRow | None:
    """Let the alias stand for the adapter; None when it is not, or no longer, served as asked.

    From here on the adapter is not evicted: who evicts takes the same lock.
    """
    storage.lock_places(session)
    adapter = session.get(AdapterRow, ask.adapter, with_for_update=True)
    if adapter is None or (adapter.status, adapter.sha256) != ("loaded", sha256):
        return None
    gate = ask.gate.model_dump() if ask.gate else None
    row = session.get(AliasRow, ask.name, with_for_update=True)
    if row is None:
        row = AliasRow(name=ask.name)
        session.add(row)
    elif (row.adapter, row.gate) == (ask.adapter, gate):
        return row
    row.adapter, row.sha256, row.gate = ask.adapter, sha256, gate
    row.since, row.created_by = func.now(), caller
    _note(session, ask.name, caller, adapter=ask.adapter, sha256=sha256, gate=gate)
    session.refresh(row)
    return row


def remove(session: Session, name: str, caller: str) -> bool:
    """False when there is no such alias."""
    row = session.get(AliasRow, name, with_for_update=True)
    if row is None:
        return False
    session.delete(row)
    _note(session, name, caller, adapter=None, sha256=None, gate=None)
    return True


def _note(session: Session, name: str, caller: str, **values: Any) -> None:
    change = AliasChangeRow(id=new_id("change"), alias=name, created_by=caller, **values)
    session.add(change)
    session.flush()
    session.execute(select(func.pg_notify(CHANNEL, name)))


async def changes(engine: Engine, pause: float) -> AsyncIterator[None]:
    """Yields whenever aliases may have changed: now, when PostgreSQL says so, each ``pause`` s."""
    positional, named = engine.dialect.create_connect_args(engine.url)
    connecting = psycopg.AsyncConnection.connect(
        *positional, **named, connect_timeout=5, autocommit=True
    )
    async with await connecting as connection:
        await connection.execute(f"listen {CHANNEL}")
        while True:
            yield
            async for _ in connection.notifies(timeout=pause, stop_after=1):
                pass
