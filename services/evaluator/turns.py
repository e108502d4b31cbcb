"""One worker's turn at a row of long work: it writes while the lease is its own, and settles how
the turn ended."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_random_exponential

from services.common import leases
from services.common.db import Database
from services.common.errors import FineproofError
from services.common.leases import Heartbeat

log = structlog.get_logger(__name__)

T = TypeVar("T")

ACTIVE = ("queued", "in_progress")
_LOOK_SECONDS = 0.2  # how often the work looks whether its lease is still there


class LeaseLost(Exception):
    """The row was cancelled, or another worker has it: write nothing more."""


@dataclass(frozen=True, kw_only=True)
class Turn:
    """``table`` is a :class:`Leased` one, ``row_id`` the row that ``owner`` has claimed in it."""

    db: Database
    table: Any
    row_id: str
    owner: str

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction that commits only while the lease is ours."""
        with self.db.transaction() as session:
            if not leases.renew(
                session, self.table, self.row_id, owner=self.owner, statuses=ACTIVE
            ):
                raise LeaseLost
            yield session

    def write_now(self, step: Callable[[Session], T]) -> T:
        """Do ``step``, which must be safe to repeat, in one transaction of ours."""
        return _patiently(self.transaction, step)

    async def write(self, step: Callable[[Session], T]) -> T:
        """As :meth:`write_now`, beside the event loop."""
        return await asyncio.to_thread(self.write_now, step)

    async def aside(self, step: Callable[[Session], T]) -> T:
        """As :meth:`write`, whoever has the lease: to read, and to keep what is nobody's own."""
        return await asyncio.to_thread(_patiently, self.db.transaction, step)

    def release(self) -> None:
        """The next worker need not wait for the lease to run out, nor counts this turn."""
        with self.db.transaction() as session:
            leases.release(session, self.table, self.row_id, owner=self.owner, undone=True)


def _patiently(
    transaction: Callable[[], AbstractContextManager[Session]], step: Callable[[Session], T]
) -> T:
    """Bears with a database that is away for half a lease."""
    for attempt in Retrying(
        retry=retry_if_exception_type(OperationalError),
        stop=stop_after_delay(leases.LEASE.total_seconds() / 2),
        wait=wait_random_exponential(multiplier=0.1, max=2),
        reraise=True,
    ):
        with attempt, transaction() as session:
            return step(session)
    raise AssertionError("unreachable: tenacity reraises")


class Pace:
    """Seconds left at the pace measured since it was made; done before that does not count."""

    def __init__(self, *, done: int, total: int) -> None:
        self.done = done
        self.total = total
        self._before = done
        self._started = self._marked = time.monotonic()

    def seconds_left(self) -> float | None:
        made = self.done - self._before
        if not made:
            return None
        spent = time.monotonic() - self._started
        return round(spent / made * (self.total - self.done), 1)

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        self._marked, last = now, self._marked
        return now - last


Fail = Callable[[Session, str, str], object]
"""Writes down a code and a sentence as the row's end."""


async def spend(turn: Turn, work: Callable[[], Awaitable[object]], fail: Fail) -> None:
    """Do ``work`` under the lease's heartbeat, until it ends or the lease is lost.

    What fails the row for good is written by ``fail``. A database that stays away is raised, as is
    being stopped from outside: the next worker goes on.
    """
    with Heartbeat(turn.db, turn.table, turn.row_id, owner=turn.owner, statuses=ACTIVE) as beat:
        try:
            async with stopped_by(beat.lost.is_set):
                await work()
        except BaseException as error:
            _settle(turn, _cause(error), fail)


def _settle(turn: Turn, error: BaseException, fail: Fail) -> None:
    if isinstance(error, LeaseLost):
        log.info("stopped", reason="cancelled, or taken by another worker")
        return
    if not isinstance(error, Exception):
        turn.release()
        raise error
    if isinstance(error, OperationalError):
        raise error
    if isinstance(error, FineproofError):
        log.warning("failed", code=error.code, reason=error.message)
        code, message = error.code, error.message.replace("\x00", "\ufffd")
    else:
        log.error("failed", exc_info=error)
        code = "internal_error"
        message = "Something went wrong on our side; the log has the details."
    with contextlib.suppress(LeaseLost):
        turn.write_now(lambda session: fail(session, code, message))


def _cause(error: BaseException) -> BaseException:
    """The first error inside the groups that concurrent work raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@asynccontextmanager
async def stopped_by(lost: Callable[[], bool]) -> AsyncIterator[None]:
    """Cancel the body once ``lost()`` says so; ``LeaseLost`` comes out of it then."""
    body = asyncio.current_task()
    assert body is not None

    async def look() -> None:
        # It is a thread's event that tells, and waiting for it would hold another thread.
        while not lost():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        body.cancel()

    looking = asyncio.create_task(look())
    try:
        yield
    except asyncio.CancelledError:
        if looking.done() and lost():
            body.uncancel()
            raise LeaseLost from None
        raise
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking
