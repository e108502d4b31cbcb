"""A row's events as server-sent events, while they happen."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import anyio
import anyio.to_thread
import sqlalchemy.exc
import structlog
from sqlalchemy.orm import Session
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.common.db import Database
from services.common.errors import RateLimited

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
KEEP_ALIVE_SECONDS = 15.0
AT_ONCE = 200  # events read in one look
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Told:
    """An event: its ``number`` orders it, ``id`` is what a watcher names to go on after it."""

    number: int
    id: str
    type: str
    data: str

    def encode(self) -> bytes:
        return f"id: {self.id}\nevent: {self.type}\ndata: {self.data}\n\n".encode()


@dataclass(frozen=True)
class Look:
    """``ended`` must have been read before ``events``: then the last of them is there, too."""

    ended: bool
    events: Sequence[Told]


Read = Callable[[Session, str, int | None, int], Look]
"""Looks for the events of a row after a number, oldest first, at most so many."""


class Watchers:
    """Those who watch in this process; between two looks they hold nothing of the database."""

    def __init__(self, db: Database, read: Read, *, most: int) -> None:
        self._db = db
        self._read = read
        self._most = most
        self._seated = 0
        # However many they are, they look two at a time: the pool is there for requests.
        self._looking = anyio.CapacityLimiter(2)

    @contextmanager
    def seat(self) -> Iterator[None]:
        if self._seated >= self._most:
            raise RateLimited(
                f"{self._most} streams of events are open here already; ask for pages of events, "
                "or try again later.",
                code="too_many_watchers",
                headers={"Retry-After": "10"},
            )
        self._seated += 1
        try:
            yield
        finally:
            self._seated -= 1

    async def watch(self, row_id: str, after: int | None) -> AsyncIterator[bytes]:
        """Events later than ``after``, oldest first, until the row has ended."""
        quiet = 0.0
        while True:
            seen = await self._look(row_id, after)
            for event in seen.events:
                yield event.encode()
                after, quiet = event.number, 0.0
            if len(seen.events) == AT_ONCE:
                continue
            if seen.ended:
                yield DONE
                return
            if quiet >= KEEP_ALIVE_SECONDS:
                yield b": keep-alive\n\n"
                quiet = 0.0
            await anyio.sleep(LOOK_SECONDS)
            quiet += LOOK_SECONDS

    async def _look(self, row_id: str, after: int | None) -> Look:
        def look() -> Look:
            with self._db.transaction() as session:
                return self._read(session, row_id, after, AT_ONCE)

        try:
            return await anyio.to_thread.run_sync(look, limiter=self._looking)
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.TimeoutError) as away:
            log.warning("watcher_waits", row=row_id, error=str(away.__cause__ or away))
            return Look(ended=False, events=())


class EventStream(StreamingResponse):
    """Server-sent events for a watcher who has a seat while they last.

    Raises ``RateLimited`` when there is none left.
    """

    def __init__(self, watchers: Watchers, events: AsyncIterator[bytes]) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            # nginx and its like would otherwise hold events back.
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )
        self._watchers = watchers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._watchers.seat():
            await super().__call__(scope, receive, send)
