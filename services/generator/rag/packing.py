"""What fits the model's window beside the question and the answer: passages and earlier turns."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from services.common.contracts.generator import LeftOut, Packing, UsedPassage
from services.common.errors import InvalidRequest
from services.generator.servers.asking import away
from services.generator.servers.fleet import Fleet

Message = Mapping[str, Any]
Messages = list[dict[str, Any]]
Render = Callable[[Sequence[UsedPassage], Sequence[Message]], Messages]
CountTokens = Callable[[Sequence[Message]], Awaitable[int]]

TEMPLATE_TOKENS = 256
"""More than any chat template adds round a system and a user message."""
MESSAGE_TOKENS = 32
"""More than any adds round one message further."""
TOOLS_TOKENS = 512
"""More than any says of functions besides describing them."""


@dataclass(frozen=True)
class Prompt:
    """What is asked, before it is known what fits beside it.

    ``render`` words the prompt round the passages and those of the ``earlier`` messages that it is
    given; the first of them is number ``first`` among the caller's own. ``param`` is the request's
    field that the question came in. ``tools`` are functions that the model is told of besides.
    """

    render: Render
    passages: Sequence[UsedPassage]
    earlier: Sequence[Message] = ()
    first: int = 0
    param: str = "question"
    tools: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Packed:
    """A prompt that fits: ``passages`` are those in it, ``packing`` says what is not."""

    messages: Messages
    passages: Sequence[UsedPassage]
    packing: Packing

    @property
    def left_out(self) -> list[str]:
        """Ids of the passages that did not fit."""
        return [out.id for out in self.packing.left_out if out.type == "passage"]


def token_bound(messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> int:
    """Tokens that the prompt cannot exceed: no byte-level or byte-fallback tokenizer makes more
    tokens than there are UTF-8 bytes."""
    said = sum(len(m["content"].encode()) for m in messages)
    called = sum(len(json.dumps(m["tool_calls"])) for m in messages if "tool_calls" in m)
    told = TOOLS_TOKENS + len(json.dumps(list(tools))) if tools else 0
    return TEMPLATE_TOKENS + MESSAGE_TOKENS * max(0, len(messages) - 2) + said + called + told


async def pack_bounded(prompt: Prompt, *, window: int, max_tokens: int) -> Packed:
    """For a model whose tokens nobody here can count: as much as fits for certain."""

    async def count(messages: Sequence[Message]) -> int:
        return token_bound(messages, prompt.tools)

    return await pack(prompt, window=window, max_tokens=max_tokens, count=count)


async def pack_for(fleet: Fleet, prompt: Prompt, max_tokens: int) -> Packed:
    """As much as fits the smallest window of any replica."""
    replica, window = fleet.pick(), fleet.max_model_len
    if replica is None or window is None:
        raise away("its window is not known yet")
    count = partial(replica.count_tokens, tools=prompt.tools)
    return await pack(prompt, window=window, max_tokens=max_tokens, count=count)


async def pack(prompt: Prompt, *, window: int, max_tokens: int, count: CountTokens) -> Packed:
    """The prompt with as much as fits; ``window`` and ``max_tokens`` are tokens.

    What goes first: the oldest turns but for the last one, then the passages ranked last but for
    the first, then the last turn. Counts exactly, by ``count``, only where the number of bytes
    does not settle it.
    """
    room = window - max_tokens
    if room <= 0:
        raise _too_long(f"max_tokens={max_tokens} leaves no room in it.", window, "max_tokens")
    passages, earlier = prompt.passages, prompt.earlier
    ways = _ways(len(passages), earlier)
    counted: dict[int, int] = {}

    def messages(way: int) -> Messages:
        kept, forgotten = ways[way]
        return prompt.render(passages[:kept], earlier[forgotten:])

    async def tokens(way: int) -> int:
        if way not in counted:
            counted[way] = await count(messages(way))
        return counted[way]

    async def fits(way: int) -> bool:
        return token_bound(messages(way), prompt.tools) <= room or await tokens(way) <= room

    best = least = len(ways) - 1
    if await fits(0):
        best = 0
    elif best == 0 or not await fits(least):
        what = "the question with its first passage" if passages else "the question"
        raise _too_long(
            f"{what} and max_tokens={max_tokens} do not fit in it.", window, prompt.param
        )
    else:
        too_much = 0
        while best - too_much > 1:
            middle = (best + too_much) // 2
            if await fits(middle):
                best = middle
            else:
                too_much = middle
    kept, forgotten = ways[best]
    numbers = range(prompt.first, prompt.first + forgotten)
    left_out = [LeftOut(type="message", id=f"messages[{n}]") for n in numbers]
    left_out += [LeftOut(type="passage", id=passage.id) for passage in passages[kept:]]
    return Packed(
        messages(best),
        passages[:kept],
        Packing(
            window=window,
            max_tokens=max_tokens,
            left_out=left_out,
            left_out_tokens=await tokens(0) - await tokens(best) if best else 0,
        ),
    )


def _ways(passages: int, earlier: Sequence[Message]) -> list[tuple[int, int]]:
    """How many passages to keep and how many earlier messages to forget, from the fullest prompt
    to the barest. What is kept of a conversation begins with a user's message, as many chat
    templates demand."""
    turns = {n for n, message in enumerate(earlier) if message["role"] == "user"}
    *older, none = sorted(turns | {0, len(earlier)})
    older = older or [none]
    least = min(passages, 1)
    ways = [(passages, forgotten) for forgotten in older]
    ways += [(kept, older[-1]) for kept in range(passages - 1, least - 1, -1)]
    if older[-1] != none:
        ways.append((least, none))
    return ways


def _too_long(reason: str, window: int, param: str) -> InvalidRequest:
    return InvalidRequest(
        f"The model's window holds {window} tokens; {reason}",
        code="context_length_exceeded",
        param=param,
    )
