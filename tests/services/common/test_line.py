"""Waiting for a place: in turn, in bounds, and never for ever."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.common.errors import RateLimited
from services.common.line import Line, Overloaded
from tests.services.common.conftest import line


async def take(line: Line, caller: str) -> None:
    async with line.place(caller):
        await asyncio.sleep(0)


Waiters = tuple[list[asyncio.Task[None]], list[str]]


@asynccontextmanager
async def queued(line: Line, *callers: str) -> AsyncIterator[Waiters]:
    """While a place is held: a task for each caller, in this order in line, and the list that they
    write their turns into. Leaving lets all of them come to their turn."""
    served: list[str] = []

    async def ask(caller: str, name: str) -> None:
        async with line.place(caller):
            served.append(name)

    async with line.place("holder"):
        tasks = []
        for number, caller in enumerate(callers):
            tasks.append(asyncio.create_task(ask(caller, f"{caller}{number}")))
            await asyncio.sleep(0)
        assert line.waiting == len(callers)
        yield tasks, served
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_callers_take_turns_and_keep_their_own_order() -> None:
    this = line()
    async with queued(this, "a", "a", "a", "b", "b", "c") as (_, served):
        pass
    assert served == ["a0", "b3", "c5", "a1", "b4", "a2"]


async def test_who_leaves_the_line_is_not_waited_for() -> None:
    this = line()
    async with queued(this, "a", "b", "c") as (tasks, served):
        tasks[0].cancel()
        await asyncio.sleep(0)
        assert this.waiting == 2
    assert served == ["b1", "c2"]


async def test_a_place_that_comes_free_as_its_taker_leaves_goes_to_the_next() -> None:
    this = line()
    holding = this.place("holder")
    await holding.__aenter__()
    first, second = (asyncio.create_task(take(this, name)) for name in ("a", "b"))
    await asyncio.sleep(0)
    await holding.__aexit__(None, None, None)  # the place is the first one's
    first.cancel()  # who has not woken up yet
    async with asyncio.timeout(5):
        await second
    assert first.cancelled()
    assert this.waiting == 0
    async with asyncio.timeout(5), this.place("c"):
        pass


async def test_a_full_line_refuses_and_says_when_to_come_back() -> None:
    this = line(length=1)
    async with queued(this, "a"):
        with pytest.raises(Overloaded) as refused:
            async with this.place("b"):
                raise AssertionError("there was no place")
        assert refused.value.status == 503
        assert refused.value.headers is not None
        assert int(refused.value.headers["Retry-After"]) >= 1


async def test_a_service_may_refuse_with_an_error_of_its_own_where_the_line_is_full() -> None:
    this = line(length=0, patience=0.05, full=RateLimited)
    async with queued(this):
        with pytest.raises(RateLimited) as refused:
            await take(this, "a")
    assert refused.value.headers is not None
    assert int(refused.value.headers["Retry-After"]) >= 1


async def test_waiting_has_an_end() -> None:
    this = line(patience=0.05)
    async with queued(this):
        with pytest.raises(Overloaded):
            async with this.place("b"):
                raise AssertionError("there was no place")
        assert this.waiting == 0
    async with asyncio.timeout(5), this.place("c"):
        pass


async def test_places_are_never_more_than_there_are_and_none_is_lost() -> None:
    this, most, now = line(3, length=100), 0, 0

    async def ask(caller: str) -> None:
        nonlocal most, now
        async with this.place(caller):
            now += 1
            most = max(most, now)
            try:
                await asyncio.sleep(0)
            finally:
                now -= 1

    tasks = [asyncio.create_task(ask(f"c{n % 7}")) for n in range(60)]
    await asyncio.sleep(0)
    for task in tasks[::4]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (most, now, this.waiting) == (3, 0, 0)
    async with asyncio.timeout(5), this.place("a"), this.place("b"), this.place("c"):
        pass
