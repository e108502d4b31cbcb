from collections.abc import Mapping, Sequence

import pytest

from services.common.contracts.generator import UsedPassage
from services.common.errors import InvalidRequest
from services.common.prompts import render_messages
from services.generator.packing import TEMPLATE_TOKENS, Messages, pack, token_bound


class Counter:
    """Counts a token a word, and how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self, messages: Sequence[Mapping[str, str]]) -> int:
        self.calls += 1
        return words(messages)


def words(messages: Sequence[Mapping[str, str]]) -> int:
    return sum(len(m["content"].split()) for m in messages)


def passages(number: int, length: int = 50) -> list[UsedPassage]:
    return [
        UsedPassage(index=n, id=str(n), doc_id=None, title="", text="word " * length, score=None)
        for n in range(1, number + 1)
    ]


async def packed(
    given: list[UsedPassage], window: int, max_tokens: int = 0
) -> tuple[Messages, int, int]:
    count = Counter()
    messages, used = await pack("Why?", given, window=window, max_tokens=max_tokens, count=count)
    assert messages == render_messages("Why?", given[:used])
    return messages, used, count.calls


async def test_a_prompt_that_fits_by_its_bytes_is_not_counted() -> None:
    _, used, calls = await packed(passages(3), window=4096)
    assert (used, calls) == (3, 0)


@pytest.mark.parametrize("window", range(80, 600, 37))
async def test_as_many_passages_are_kept_as_fit_and_the_last_ranked_go_first(window: int) -> None:
    given = passages(10)
    messages, used, calls = await packed(given, window, max_tokens=0)
    assert words(messages) <= window
    assert used == 10 or words(render_messages("Why?", given[: used + 1])) > window
    assert calls <= 6


async def test_the_answers_length_is_kept_free() -> None:
    given = passages(10)
    messages, used, _ = await packed(given, window=400, max_tokens=200)
    assert words(messages) <= 200
    assert used < (await packed(given, window=400))[1]


@pytest.mark.parametrize(
    ("given", "window", "max_tokens", "param"),
    [
        (passages(2), 40, 0, "question"),
        ([], 5, 0, "question"),
        (passages(1), 100, 100, "max_tokens"),
        ([], 100, 4000, "max_tokens"),
    ],
)
async def test_what_cannot_fit_is_refused(
    given: list[UsedPassage], window: int, max_tokens: int, param: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await packed(given, window, max_tokens)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", param)


def test_the_bound_counts_bytes_not_characters() -> None:
    assert token_bound([{"role": "user", "content": "é漢"}]) == TEMPLATE_TOKENS + 5
