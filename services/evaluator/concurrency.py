"""How many requests are made of a server at once: as many as it bears, found out by asking."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import TypeVar

from services.common.errors import FineproofError
from services.evaluator.peers import is_passing, retry_after

T = TypeVar("T")

_OVERRUN = (429, 503, 504)
_LONGEST_PAUSE = 8.0  # seconds between two tries, where the server names no time
_LONGEST_OBEYED = 600.0  # seconds; a server that says more is asked earlier


class Concurrency:
    """Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does.

    While all places are in use, every ``limit`` answers make one place more, up to ``most``. An
    answer of 429 or 503, or none in time, halves them, once for all requests that were under way
    together. ``Retry-After`` holds everybody: it is the server that is overrun, not one request.
    """

    def __init__(
        self,
        *,
        start: int,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._limit = float(min(start, most))
        self._most = most
        self._clock = clock
        self._sleep = sleep
        self._not_before = clock()
        self._narrowed = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.under_way = 0

    @property
    def limit(self) -> int:
        return int(self._limit)

    async def ask(self, call: Callable[[], Awaitable[T]], *, patience_s: float) -> T:
        """``call`` until it answers; the last error is raised once patience is spent.

        ``call`` makes one request and must not retry by itself. Waiting for a place costs no
        patience, ``patience_s`` seconds: only failed tries do, and the pauses after them.
        """
        spent = 0.0
        for tries in count():
            async with self._place():
                began, narrowed = self._clock(), self._narrowed
                try:
                    answer = await call()
                except FineproofError as error:
                    if not is_passing(error):
                        raise
                    named = min(retry_after(error), _LONGEST_OBEYED)
                    if error.status in _OVERRUN:
                        self._narrow(narrowed, named)
                    longest = min(_LONGEST_PAUSE, 0.25 * 2 ** min(tries, 8))
                    pause = max(named, random.uniform(0, longest))  # noqa: S311 - no secret
                    spent += self._clock() - began
                    if spent >= patience_s:
                        raise
                    # Where a server names a longer time, the place is what is waited for.
                    pause = min(pause, patience_s - spent)
                    spent += pause
                else:
                    self._widen()
                    return answer
            await self._sleep(pause)
        raise AssertionError("unreachable: it counts without end")

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # a place came in the moment of leaving
                self._leave()
            raise
        try:
            while (pause := self._not_before - self._clock()) > 0:
                await self._sleep(pause)
            yield
        finally:
            self._leave()

    def _let_in(self) -> None:
        while self._waiting and self.under_way < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)

    def _leave(self) -> None:
        self.under_way -= 1
        self._let_in()

    def _widen(self) -> None:
        if self.under_way >= self.limit:
            self._limit = min(self._most, self._limit + 1 / self._limit)
            self._let_in()

    def _narrow(self, narrowed: int, seconds: float) -> None:
        """``narrowed`` is how often it had been when the request that failed was made."""
        self._not_before = max(self._not_before, self._clock() + seconds)
        if narrowed == self._narrowed:
            self._limit = max(1.0, self._limit / 2)
            self._narrowed += 1
