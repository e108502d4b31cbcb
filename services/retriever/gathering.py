"""Asks that are alike and come at about the same time are answered together."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class _Waiting(NamedTuple, Generic[Asked, Answer]):
    asked: Asked
    turn: "asyncio.Future[Answer]"


class Gathering(Generic[Key, Asked, Answer]):
    """At most ``at_once`` passes of ``work``, each for up to ``most`` asks of one key.

    Nobody waits for company: an ask that finds room for a pass is a pass of its own. Those that
    come while there is none wait, and those of one key have the next pass together; keys take
    turns. ``work`` gives an answer for each ask, in their order; what it raises is raised to each.
    Who is cancelled while waiting is left out; a pass under way goes on for the others.
    """

    def __init__(
        self,
        work: Callable[[Key, Sequence[Asked]], Awaitable[Sequence[Answer]]],
        *,
        at_once: int,
        most: int,
    ) -> None:
        self._work = work
        self._free = at_once
        self._most = most
        self._waiting: dict[Key, deque[_Waiting[Asked, Answer]]] = {}  # the first key is next
        self._under_way: set[asyncio.Task[None]] = set()  # asyncio itself holds them weakly

    async def ask(self, key: Key, asked: Asked) -> Answer:
        turn: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(_Waiting(asked, turn))
        if self._free:
            self._free -= 1
            passes = asyncio.create_task(self._passes())
            self._under_way.add(passes)
            passes.add_done_callback(self._under_way.discard)
        return await turn

    async def _passes(self) -> None:
        """One after the other, until nobody waits. The first begins a turn of the event loop after
        who asked for it, with those who came by then."""
        try:
            while self._waiting:
                key, some = self._next()
                if some:
                    await self._pass(key, some)
        finally:
            self._free += 1

    def _next(self) -> tuple[Key, list[_Waiting[Asked, Answer]]]:
        key = next(iter(self._waiting))
        waiting, some = self._waiting.pop(key), list[_Waiting[Asked, Answer]]()
        while waiting and len(some) < self._most:
            each = waiting.popleft()
            if not each.turn.cancelled():
                some.append(each)
        if waiting:
            self._waiting[key] = waiting  # behind every other
        return key, some

    async def _pass(self, key: Key, some: Sequence[_Waiting[Asked, Answer]]) -> None:
        try:
            answers = await self._work(key, [each.asked for each in some])
        except Exception as error:
            for each in some:
                if not each.turn.done():
                    each.turn.set_exception(error)
        else:
            for each, answer in zip(some, answers, strict=True):
                if not each.turn.done():
                    each.turn.set_result(answer)
