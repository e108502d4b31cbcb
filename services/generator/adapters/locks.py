"""One holder of an adapter's name at a time, among all generators that share a database.

An advisory lock of PostgreSQL belongs to a connection and ends with it, so nothing is left locked
by a process that died. The connection is in no transaction: a load may take a minute.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import anyio.to_thread
import structlog
from anyio import CancelScope
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from services.common.db import Database

log = structlog.get_logger(__name__)

T = TypeVar("T")

_PAUSE = 0.1  # seconds between two tries for a name that another process holds
_KEY = "hashtextextended('fineproof.generator.adapter:' || :name, 0)"
_TAKE = text(f"select pg_try_advisory_lock({_KEY})")
_GIVE = text(f"select pg_advisory_unlock({_KEY})")


class NameLocks:
    """All of a process's names are held by one connection, opened when the first is asked for."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._here: dict[str, asyncio.Lock] = {}
        self._connection: Connection | None = None
        self._using = threading.Lock()

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Wait for ``name`` and keep it.

        When the connection breaks meanwhile, another process may take it too: what is done under a
        name must be safe to do twice.
        """
        async with self._here.setdefault(name, asyncio.Lock()):
            try:
                # Waiting inside PostgreSQL would block the connection for all other names.
                while not await self._run(lambda held: bool(held.scalar(_TAKE, {"name": name}))):  # noqa: ASYNC110
                    await asyncio.sleep(_PAUSE)
                yield
            finally:
                with CancelScope(shield=True), suppress(SQLAlchemyError):
                    await self._run(lambda held: held.execute(_GIVE, {"name": name}))

    def close(self) -> None:
        with self._using:
            self._drop()

    async def _run(self, work: Callable[[Connection], T]) -> T:
        def run() -> T:
            with self._using:
                try:
                    return work(self._open())
                except SQLAlchemyError:
                    self._drop()
                    raise

        return await anyio.to_thread.run_sync(run)

    def _open(self) -> Connection:
        if self._connection is None:
            self._connection = self._db.engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            )
            self._connection.detach()  # it is no longer one of the pool's
        return self._connection

    def _drop(self) -> None:
        if self._connection is not None:
            with suppress(SQLAlchemyError):
                self._connection.close()
            self._connection = None
