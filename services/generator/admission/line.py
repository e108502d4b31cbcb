"""Places for answers under way, and a bounded line of those who wait for one."""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.errors import Unavailable
from services.generator.metrics import GeneratorMetrics

_LONGEST_RETRY = 60
_WEIGHT = 0.2  # of the newest answer, in the mean of how long a place is held


class Overloaded(Unavailable):
    """503 rather than 429: it is not this caller who asks for too much."""

    code = "overloaded"


class Line:
    """At most ``places`` at once; ``length`` more may wait, each for ``patience`` seconds.

    Callers take turns, and each caller's own requests keep their order. Who stops waiting leaves
    the line.
    """

    def __init__(
        self, places: int, *, length: int, patience: float, metrics: GeneratorMetrics
    ) -> None:
        self.places = places
        self.length = length
        self.patience = patience
        self.waiting = 0
        self._free = places
        self._turns: dict[str, deque[asyncio.Future[None]]] = {}  # the first key is next
        self._held = 1.0  # seconds, a moving mean
        self._metrics = metrics

    @asynccontextmanager
    async def place(self, caller: str) -> AsyncIterator[None]:
        """Hold a place, once one is free. Raises :class:`Overloaded`."""
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
            raise self._refused("line_full", "As many answers are under way, and waited for, as")
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
                raise self._refused(
                    "line_too_slow", f"No place came free within {self.patience:g} seconds;"
                ) from error
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

    def _refused(self, reason: str, why: str) -> Overloaded:
        self._metrics.refused(reason)
        expected = self._held * (self.waiting + 1) / self.places
        seconds = min(_LONGEST_RETRY, max(1, math.ceil(expected)))
        return Overloaded(
            f"{why} this service allows; try again in about {seconds} s."
            if reason == "line_full"
            else f"{why} try again in about {seconds} s.",
            headers={"Retry-After": str(seconds)},
        )
