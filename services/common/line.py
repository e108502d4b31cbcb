"""Places for work under way, and a bounded line of those who wait for one."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.common.errors import FineproofError, Unavailable
from services.common.telemetry import SECONDS

_LONGEST_RETRY = 60
_WEIGHT = 0.2  # of the newest answer, in the mean of how long a place is held


class Overloaded(Unavailable):
    """503 rather than 429: it is not this caller who asks for too much."""

    code = "overloaded"


class LineMetrics:
    """How many wait and for how long, and who is refused. Reasons come from code only."""

    def __init__(self, service: str, registry: CollectorRegistry) -> None:
        self._waiting = Gauge(
            f"fineproof_{service}_waiting", "Requests waiting for a place.", registry=registry
        )
        self._waited = Histogram(
            f"fineproof_{service}_waited_seconds",
            "Seconds in line, of requests that had to wait, whether or not a place came free.",
            registry=registry,
            buckets=SECONDS,
        )
        self._refused = Counter(
            f"fineproof_{service}_refused_total",
            "Requests refused before any work was done for them.",
            ["reason"],
            registry=registry,
        )

    @contextmanager
    def in_line(self) -> Iterator[None]:
        with self._waiting.track_inprogress(), self._waited.time():
            yield

    def refused(self, reason: str) -> None:
        self._refused.labels(reason).inc()


class Line:
    """At most ``places`` at once; ``length`` more may wait, each for ``patience`` seconds.

    Callers take turns, and each caller's own requests keep their order. Who stops waiting leaves
    the line. ``full`` is what is raised where no more may wait.
    """

    def __init__(
        self,
        places: int,
        *,
        length: int,
        patience: float,
        metrics: LineMetrics,
        full: type[FineproofError] = Overloaded,
    ) -> None:
        self.places = places
        self.length = length
        self.patience = patience
        self._full = full
        self.waiting = 0
        self._free = places
        self._turns: dict[str, deque[asyncio.Future[None]]] = {}  # the first key is next
        self._held = 1.0  # seconds, a moving mean
        self._metrics = metrics

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """Hold a place, once one is free. Raises ``full``, or :class:`Overloaded` after waiting."""
        if self._free > 0:
            self._free -= 1
        else:
            await self._wait(caller)
        since = time.monotonic()
        try:
            yield
        finally:
            self._held += _WEIGHT * (time.monotonic() - since - self._held)
            self._hand_on()

    async def _wait(self, caller: str) -> None:
        if self.waiting >= self.length:
            why = "As many requests are under way, and waiting, as this service allows;"
            raise self._refused("line_full", why, self._full)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        own = self._turns.setdefault(caller, deque())
        own.append(turn)
        self.waiting += 1
        try:
            with self._metrics.in_line():
                async with asyncio.timeout(self.patience):
                    await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():  # a place came in the very moment of leaving
                self._hand_on()
            else:
                self._leave(caller, turn)
            if isinstance(error, TimeoutError):
                why = f"No place came free within {self.patience:g} seconds;"
                raise self._refused("line_too_slow", why, Overloaded) from error
            raise

    def _leave(self, caller: str, turn: asyncio.Future[None]) -> None:
        own = self._turns.get(caller, deque())
        if turn in own:
            own.remove(turn)
            self.waiting -= 1
            if not own:
                del self._turns[caller]

    def _hand_on(self) -> None:
        """Give a place that came free to the next caller's first request."""
        while self._turns:
            caller = next(iter(self._turns))
            own = self._turns.pop(caller)
            turn = own.popleft()
            self.waiting -= 1
            if own:
                self._turns[caller] = own  # behind everybody else
            if not turn.cancelled():  # who was cancelled has not always left yet
                turn.set_result(None)
                return
        self._free += 1

    def _refused(self, reason: str, why: str, kind: type[FineproofError]) -> FineproofError:
        self._metrics.refused(reason)
        expected = self._held * (self.waiting + 1) / self.places
        seconds = min(_LONGEST_RETRY, max(1, math.ceil(expected)))
        return kind(f"{why} try again in about {seconds} s.", headers={"Retry-After": str(seconds)})
