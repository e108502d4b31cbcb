"""Who comes while all passes are under way goes with the next, with others alike."""

import asyncio
from collections.abc import Sequence

import pytest

from services.retriever.gathering import Gathering


class Passes:
    """Notes each pass; none ends before ``gate`` is open."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, list[int]]] = []
        self.gate = asyncio.Event()

    async def __call__(self, key: str, asked: Sequence[int]) -> list[int]:
        self.seen.append((key, list(asked)))
        await self.gate.wait()
        if 0 in asked:
            raise ZeroDivisionError
        return [10 * each for each in asked]


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def passes() -> Passes:
    return Passes()


def asked(gathering: Gathering[str, int, int], key: str, *each: int) -> "list[asyncio.Task[int]]":
    return [asyncio.create_task(gathering.ask(key, number)) for number in each]


async def test_who_finds_room_goes_at_once_with_those_who_came_at_the_same_time(
    passes: Passes,
) -> None:
    gathering = Gathering(passes, at_once=2, most=16)
    tasks = asked(gathering, "a", 1, 2)
    await settle()
    tasks += asked(gathering, "a", 3)
    await settle()
    assert passes.seen == [("a", [1, 2]), ("a", [3])]
    passes.gate.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30]


async def test_those_who_wait_go_together(passes: Passes) -> None:
    gathering = Gathering(passes, at_once=1, most=16)
    tasks = []
    for number in (1, 2, 3, 4):
        tasks += asked(gathering, "a", number)
        await settle()
    passes.gate.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]
    assert passes.seen == [("a", [1]), ("a", [2, 3, 4])]


async def test_those_unlike_take_turns_and_a_long_line_goes_in_parts(passes: Passes) -> None:
    gathering = Gathering(passes, at_once=1, most=2)
    tasks = asked(gathering, "a", 1, 2, 3, 4, 5) + asked(gathering, "b", 6)
    await settle()
    passes.gate.set()
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40, 50, 60]
    assert passes.seen == [("a", [1, 2]), ("b", [6]), ("a", [3, 4]), ("a", [5])]


async def test_what_fails_fails_those_who_went_together_and_nobody_else(passes: Passes) -> None:
    gathering = Gathering(passes, at_once=1, most=16)
    tasks = asked(gathering, "a", 1, 0) + asked(gathering, "b", 3)
    await settle()
    passes.gate.set()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(error) for error in answers[:2]] == [ZeroDivisionError] * 2
    assert answers[2] == 30
    assert await gathering.ask("a", 4) == 40  # its place is free again


async def test_who_leaves_is_left_out_and_costs_the_others_nothing(passes: Passes) -> None:
    gathering = Gathering(passes, at_once=1, most=16)
    under_way = asked(gathering, "a", 1, 2)
    await settle()
    waiting, alone = asked(gathering, "a", 3, 4), asked(gathering, "b", 5)
    await settle()
    for task in (under_way[0], waiting[0], *alone):
        task.cancel()
    await settle()
    passes.gate.set()
    assert await asyncio.gather(under_way[1], waiting[1]) == [20, 40]
    assert passes.seen == [("a", [1, 2]), ("a", [4])]
    assert await gathering.ask("a", 6) == 60
