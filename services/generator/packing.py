"""How many of the ranked passages fit the model's window beside the question and the answer."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from services.common.contracts.generator import UsedPassage
from services.common.errors import InvalidRequest
from services.common.prompts import render_messages

Messages = list[dict[str, str]]
CountTokens = Callable[[Sequence[Mapping[str, str]]], Awaitable[int]]

TEMPLATE_TOKENS = 256
"""More than any chat template adds round a system and a user message."""


def token_bound(messages: Sequence[Mapping[str, str]]) -> int:
    """Tokens that the prompt cannot exceed: no byte-level or byte-fallback tokenizer makes more
    tokens than there are UTF-8 bytes."""
    return TEMPLATE_TOKENS + sum(len(m["content"].encode()) for m in messages)


async def pack(
    question: str,
    passages: Sequence[UsedPassage],
    *,
    window: int,
    max_tokens: int,
    count: CountTokens,
) -> tuple[Messages, int]:
    """Messages with as many passages as fit, and how many those are; the last ranked go first.

    ``window`` and ``max_tokens`` are tokens. Counts exactly, by ``count``, only where the number
    of bytes does not settle it.
    """
    room = window - max_tokens
    if room <= 0:
        raise _too_long(f"max_tokens={max_tokens} leaves no room in it.", window, "max_tokens")

    async def fits(number: int) -> bool:
        messages = render_messages(question, passages[:number])
        return token_bound(messages) <= room or await count(messages) <= room

    low, high = (1 if passages else 0), len(passages)
    if not await fits(high):
        if high == low or not await fits(low):
            what = "the question with its first passage" if passages else "the question"
            raise _too_long(
                f"{what} and max_tokens={max_tokens} do not fit in it.", window, "question"
            )
        high -= 1
        while low < high:  # low fits, and so far nothing above high does
            middle = (low + high + 1) // 2
            if await fits(middle):
                low = middle
            else:
                high = middle - 1
    else:
        low = high
    return render_messages(question, passages[:low]), low


def _too_long(reason: str, window: int, param: str) -> InvalidRequest:
    return InvalidRequest(
        f"The model's window holds {window} tokens; {reason}",
        code="context_length_exceeded",
        param=param,
    )
