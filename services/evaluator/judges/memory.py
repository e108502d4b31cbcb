"""Replies that are kept as they come, so that no judge is asked again what it has answered."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

from sqlalchemy.orm import Session

from services.common.db import Database
from services.evaluator import cache
from services.evaluator.models import Json

T = TypeVar("T")

_AT_ONCE = 64  # replies kept in one transaction


class Write(Protocol):
    """Does a step in a transaction beside the event loop; a step must be safe to repeat."""

    def __call__(self, step: Callable[[Session], T], /) -> Awaitable[T]: ...


def writing(db: Database) -> Write:
    """Transactions of a database that nobody holds a lease for."""

    def in_transaction(step: Callable[[Session], T]) -> T:
        with db.transaction() as session:
            return step(session)

    def write(step: Callable[[Session], T], /) -> Awaitable[T]:
        return asyncio.to_thread(in_transaction, step)

    return write


class Memory:
    """The cache of what models said, written in batches."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._new: dict[str, Json] = {}
        self._came = asyncio.Event()

    async def known(self, keys: Collection[str]) -> dict[str, Json]:
        return await self._write(lambda session: cache.get_many(session, keys))

    def keep(self, key: str, reply: Json) -> None:
        self._new[key] = reply
        self._came.set()

    async def flush(self) -> None:
        while self._new:
            batch = dict(list(self._new.items())[:_AT_ONCE])
            await self._write(partial(cache.put_many, values=batch))
            for key in batch:
                self._new.pop(key, None)

    async def keep_on(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
            await self.flush()  # meanwhile the next batch comes together


@asynccontextmanager
async def remembering(write: Write) -> AsyncIterator[Memory]:
    """A memory that has kept everything when this is left, also by a cancellation."""
    memory = Memory(write)
    async with asyncio.TaskGroup() as keeping:
        keeper = keeping.create_task(memory.keep_on())
        try:
            yield memory
        finally:
            keeper.cancel()
            # What was answered was paid for.
            await memory.flush()
