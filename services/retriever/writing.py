"""Writes of the API to a store, one at a time."""

import asyncio
from collections.abc import Callable
from typing import TypeVar
from weakref import WeakValueDictionary

from sqlalchemy.orm import Session

from services.common.db import Database

T = TypeVar("T")


class Writes:
    """Transactions that lock a store (``storage.lock_store``).

    A worker may hold that lock for minutes, while it reads a long file. Of those who then wait for
    it one waits in the database; the others stand in line here, where they take no connection from
    readers and from writers of other stores. ``most`` is of the writes to all stores together.
    """

    def __init__(self, db: Database, *, most: int) -> None:
        self._db = db
        self._places = asyncio.Semaphore(most)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def transact(self, store_id: str, work: Callable[[Session], T]) -> T:
        """What ``work`` returns from a transaction of its own, in a thread."""
        turn = self._turns.setdefault(store_id, asyncio.Lock())
        async with turn, self._places:
            return await self._db.transact(work)
