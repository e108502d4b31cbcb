"""One engine a process, one transaction a request or task, one schema a service."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio.to_thread
import structlog
from alembic import command, context
from alembic.config import Config
from pydantic_core import from_json
from sqlalchemy import Connection, MetaData, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, sessionmaker

log = structlog.get_logger(__name__)

T = TypeVar("T")

_AFTER_COMMIT = "fineproof_after_commit"

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


def service_metadata(schema: str) -> MetaData:
    """Metadata of one service's tables, all of them in its own PostgreSQL schema."""
    return MetaData(schema=schema, naming_convention=NAMING)


class Database:
    """The connection pool of one process."""

    _options: Mapping[str, Any] = {"pool_pre_ping": True}

    def __init__(
        self, url: str, *, pool_size: int = 8, settings: Mapping[str, str] | None = None
    ) -> None:
        options = " ".join(f"-c {name}={value}" for name, value in (settings or {}).items())
        self._settings = {
            # Twice as many in a rush, and kept: to open one takes as long as several searches.
            "pool_size": 2 * pool_size,
            "max_overflow": 0,
            "pool_timeout": 10,
            "connect_args": {
                "connect_timeout": 5,
                "application_name": "fineproof",
                "options": options,
            },
            **self._options,
        }
        self.engine = create_engine(url, **self._settings)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commit on leaving, roll back on an error, then run what waited for the commit."""
        with self._sessions() as session:
            with session.begin():
                yield session
            for callback in session.info.pop(_AFTER_COMMIT, []):
                try:
                    callback()
                except Exception as error:  # the row is committed; the sweeper sends it again
                    log.warning("after_commit_failed", error=repr(error))

    async def transact(self, work: Callable[[Session], T]) -> T:
        """What ``work`` returns from a transaction of its own, in a thread."""
        return await self._in_thread(work, None)

    async def _in_thread(
        self, work: Callable[[Session], T], threads: anyio.CapacityLimiter | None
    ) -> T:
        def run() -> T:
            with self.transaction() as session:
                return work(session)

        return await anyio.to_thread.run_sync(run, limiter=threads)

    def ping(self) -> None:
        with self.engine.connect() as connection:
            connection.execute(text("select 1"))

    def close(self) -> None:
        self.engine.dispose()


class Reader(Database):
    """Connections for work that may as well be done twice, such as reading.

    Every statement is a transaction of its own, so that none begins or ends with a round trip; and
    none begins with a ping: work on a connection that turns out to be closed is done once more.
    JSON is read in Rust.
    """

    _options: Mapping[str, Any] = {"isolation_level": "AUTOCOMMIT", "json_deserializer": from_json}

    def __init__(
        self,
        url: str,
        *,
        pool_size: int = 8,
        on_loop: int = 8,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """``on_loop`` connections more are for that, and ``settings`` are PostgreSQL's on all."""
        super().__init__(url, pool_size=pool_size, settings=settings)
        # As many threads as connections: nobody waits for a connection in a thread.
        self._threads = anyio.CapacityLimiter(self._settings["pool_size"])
        self._on_loop = create_async_engine(url, **{**self._settings, "pool_size": on_loop})

    async def transact(self, work: Callable[[Session], T]) -> T:
        return await _done(lambda: self._in_thread(work, self._threads))

    async def on_loop(self, work: Callable[[Session], T]) -> T:
        """The same in the thread of the event loop, for work that waits more than it computes: a
        thread of its own would have to be woken after every statement."""

        async def once() -> T:
            async with AsyncSession(self._on_loop, expire_on_commit=False) as session:
                return await session.run_sync(work)

        return await _done(once)

    async def aclose(self) -> None:
        self.close()
        await self._on_loop.dispose()


async def _done(work: Callable[[], Awaitable[T]]) -> T:
    """What ``work`` gives; once more where its connection turned out to be closed."""
    try:
        return await work()
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
    return await work()


def after_commit(session: Session, callback: Callable[[], object]) -> None:
    """Run ``callback`` once the transaction of ``session`` is committed; never if it rolls back.

    What it does must be safe to lose: the process may die in between.
    """
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def migrate(url: str, *, schema: str, migrations: Path) -> None:
    """Bring ``schema`` to the newest revision under ``migrations``.

    Several processes may start at once: an advisory lock lets one work and the others find it done.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations))
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            connection.execute(
                text("select pg_advisory_lock(hashtext(:name))"), {"name": "fineproof.migrate"}
            )
            connection.execute(text(f'create schema if not exists "{schema}"'))
            connection.commit()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.execute(
                text("select pg_advisory_unlock(hashtext(:name))"), {"name": "fineproof.migrate"}
            )
            connection.commit()
    finally:
        engine.dispose()


def run_migrations(metadata: MetaData) -> None:
    """The body of each service's ``migrations/env.py``."""

    def run(connection: Connection) -> None:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            version_table_schema=metadata.schema,
            include_schemas=True,
            include_name=lambda name, kind, _: kind != "schema" or name == metadata.schema,
        )
        with context.begin_transaction():
            context.run_migrations()

    connection = context.config.attributes.get("connection")
    if connection is None:  # `alembic -x url=…` from a shell
        engine = create_engine(context.get_x_argument(as_dictionary=True)["url"])
        with engine.begin() as opened:
            run(opened)
    else:
        run(connection)
        connection.commit()
