"""Requests at once follow what a server bears, on a clock of the test's own."""

import asyncio
from dataclasses import dataclass, field

import pytest

from services.common.errors import (
    FineproofError,
    InvalidRequest,
    RateLimited,
    Unavailable,
    UpstreamFailed,
    UpstreamTimeout,
)
from services.evaluator.concurrency import Concurrency


@dataclass
class Clock:
    """Time that passes only while somebody sleeps."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        until = self.now + seconds
        await asyncio.sleep(0)
        self.now = max(self.now, until)


@dataclass
class Server:
    """Answers ``bears`` requests at once, and refuses more."""

    clock: Clock
    bears: int
    after: float | None = None
    under_way: int = 0
    most: int = 0
    answered: int = 0
    refused: int = 0
    refused_at: list[float] = field(default_factory=list)

    async def answer(self) -> str:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await asyncio.sleep(0)
            if self.under_way > self.bears:
                self.refused += 1
                self.refused_at.append(self.clock.now)
                named = {} if self.after is None else {"Retry-After": str(self.after)}
                raise RateLimited("Too many.", headers=named)
            for _ in range(5):
                await asyncio.sleep(0)
            self.answered += 1
            return "said"
        finally:
            self.under_way -= 1


def limited(clock: Clock, *, start: int = 4, most: int = 64) -> Concurrency:
    return Concurrency(start=start, most=most, clock=clock, sleep=clock.sleep)


async def test_it_finds_what_a_server_bears_and_everybody_is_answered() -> None:
    clock = Clock()
    server = Server(clock, bears=20)
    concurrency = limited(clock)
    asked = [concurrency.ask(server.answer, patience_s=1e9) for _ in range(3_000)]
    assert set(await asyncio.gather(*asked)) == {"said"}
    assert server.answered == 3_000
    assert 20 / 2 <= concurrency.limit <= 21
    assert 20 < server.most <= 22
    assert server.refused < 3_000 * 0.05
    assert concurrency.under_way == 0


async def test_a_server_that_bears_all_is_asked_the_most_at_once_and_no_more() -> None:
    clock = Clock()
    server = Server(clock, bears=1_000)
    concurrency = limited(clock, most=16)
    await asyncio.gather(*(concurrency.ask(server.answer, patience_s=1) for _ in range(500)))
    assert (server.most, concurrency.limit, server.refused) == (16, 16, 0)


async def test_places_that_nobody_needs_are_not_made() -> None:
    clock = Clock()
    server = Server(clock, bears=1_000)
    concurrency = limited(clock)
    for _ in range(100):
        await concurrency.ask(server.answer, patience_s=1)
    assert concurrency.limit == 4


async def test_many_refused_together_halve_it_once() -> None:
    clock = Clock()
    server = Server(clock, bears=0)
    concurrency = limited(clock, start=16)
    said = await asyncio.gather(
        *(concurrency.ask(server.answer, patience_s=0) for _ in range(16)), return_exceptions=True
    )
    assert {type(error) for error in said} == {RateLimited}
    assert concurrency.limit == 8


async def test_nobody_is_asked_before_the_time_the_server_named() -> None:
    clock = Clock()
    server = Server(clock, bears=0, after=30)
    concurrency = limited(clock, start=2)

    async def later() -> str:
        assert clock.now >= 30
        return "said"

    first = asyncio.create_task(concurrency.ask(server.answer, patience_s=100))
    while not server.refused:  # noqa: ASYNC110 - it is the clock of the test
        await asyncio.sleep(0)
    assert await concurrency.ask(later, patience_s=0) == "said"
    server.bears = 2
    assert await first == "said"
    assert server.refused_at == [0.0]


async def test_a_server_that_names_more_than_patience_has_is_asked_when_it_said() -> None:
    clock = Clock()
    concurrency = Concurrency(start=1, most=1, clock=clock, sleep=clock.sleep)
    asked_at: list[float] = []

    async def later() -> str:
        asked_at.append(clock.now)
        if clock.now < 180:
            raise RateLimited("Too many.", headers={"Retry-After": "180"})
        return "said"

    assert await concurrency.ask(later, patience_s=120) == "said"
    assert asked_at == [0, 180]


async def test_a_server_that_is_away_is_asked_until_patience_is_spent() -> None:
    clock = Clock()
    concurrency = Concurrency(start=1, most=1, clock=clock, sleep=clock.sleep)

    async def away() -> str:
        raise Unavailable("Away.")

    with pytest.raises(Unavailable):
        await concurrency.ask(away, patience_s=120)
    assert clock.now == pytest.approx(120)


@pytest.mark.parametrize(
    ("error", "tries", "limit"),
    [
        (RateLimited("Too many."), 3, 2),
        (Unavailable("Full."), 3, 2),
        (UpstreamTimeout("Late."), 3, 2),
        (UpstreamFailed("Broken."), 3, 8),
        (InvalidRequest("Too long."), 1, 8),
        (Unavailable("It changes nothing.", code="adapter_no_effect"), 1, 8),
    ],
)
async def test_only_a_server_that_is_overrun_is_asked_less_and_only_the_passing_again(
    error: FineproofError, tries: int, limit: int
) -> None:
    clock = Clock()
    concurrency = limited(clock, start=8)
    asked = 0

    async def fail() -> str:
        nonlocal asked
        asked += 1
        clock.now += 1
        if asked == 3:
            raise InvalidRequest("That was it.")
        raise error

    with pytest.raises(FineproofError):
        await concurrency.ask(fail, patience_s=1e9)
    assert asked == tries
    assert concurrency.limit == limit


async def test_waiting_for_a_place_costs_no_patience() -> None:
    clock = Clock()
    concurrency = limited(clock, start=1, most=1)

    async def slow() -> str:
        await clock.sleep(100)
        return "said"

    tries = iter((Unavailable("Starting."), None))

    async def once_away() -> str:
        if (error := next(tries)) is not None:
            raise error
        return "said"

    others = [concurrency.ask(slow, patience_s=0) for _ in range(5)]
    said = await asyncio.gather(*others, concurrency.ask(once_away, patience_s=5))
    assert set(said) == {"said"}
    assert clock.now >= 500


async def test_who_is_cancelled_leaves_no_place_taken() -> None:
    clock = Clock()
    concurrency = limited(clock, start=1, most=1)
    forever = asyncio.Event()
    asked = [asyncio.create_task(concurrency.ask(forever.wait, patience_s=0)) for _ in range(3)]
    await asyncio.sleep(0)
    for task in (asked[1], asked[0]):
        task.cancel()
    await asyncio.gather(*asked[:2], return_exceptions=True)
    assert concurrency.under_way == 1
    forever.set()
    assert await asked[2]
    assert concurrency.under_way == 0
