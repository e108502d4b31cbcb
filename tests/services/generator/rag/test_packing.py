from collections.abc import Mapping, Sequence
from functools import partial

import pytest

from services.common.contracts.generator import UsedPassage
from services.common.errors import InvalidRequest
from services.common.prompts import render_messages
from services.generator.rag.packing import (
    MESSAGE_TOKENS,
    TEMPLATE_TOKENS,
    Messages,
    Prompt,
    pack,
    token_bound,
)

WHY = partial(render_messages, "Why?")


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
    prompt = Prompt(WHY, given)
    packed = await pack(prompt, window=window, max_tokens=max_tokens, count=count)
    used = len(packed.passages)
    assert packed.messages == render_messages("Why?", given[:used])
    assert packed.left_out == [passage.id for passage in given[used:]]
    return packed.messages, used, count.calls


async def test_a_prompt_that_fits_by_its_bytes_is_not_counted() -> None:
    _, used, calls = await packed(passages(3), window=4096)
    assert (used, calls) == (3, 0)


@pytest.mark.parametrize("window", range(80, 600, 37))
async def test_as_many_passages_are_kept_as_fit_and_the_last_ranked_go_first(window: int) -> None:
    given = passages(10)
    messages, used, calls = await packed(given, window, max_tokens=0)
    assert words(messages) <= window
    assert used == 10 or words(render_messages("Why?", given[: used + 1])) > window
    assert calls <= 7


async def test_the_answers_length_is_kept_free() -> None:
    given = passages(10)
    messages, used, _ = await packed(given, window=400, max_tokens=200)
    assert words(messages) <= 200
    assert used < (await packed(given, window=400))[1]


def talk(turns: int) -> list[dict[str, str]]:
    """Ten words a message, so 20 a turn."""
    said = "word " * 9
    return [
        {"role": role, "content": f"{said}{n}"}
        for n in range(turns)
        for role in ("user", "assistant")
    ]


@pytest.mark.parametrize("window", range(80, 340, 13))
async def test_old_turns_go_first_then_passages_then_the_last_turn(window: int) -> None:
    given, earlier = passages(3), talk(5)
    packed = await pack(
        Prompt(WHY, given, earlier, first=1), window=window, max_tokens=0, count=Counter()
    )
    kept, used = packed.messages[1:-1], len(packed.passages)
    assert kept == earlier[len(earlier) - len(kept) :]
    assert not kept or kept[0]["role"] == "user"
    assert len(kept) <= 2 or used == 3
    assert len(kept) >= 2 or used == 1
    assert words(packed.messages) <= window
    out = packed.packing.left_out
    assert [o.id for o in out if o.type == "message"] == [
        f"messages[{n}]" for n in range(1, 11 - len(kept))
    ]
    everything = words(WHY(given, earlier))
    assert packed.packing.left_out_tokens == everything - words(packed.messages)
    if out:  # one step fuller would be too much
        if len(kept) >= 2 and used == 3:
            fuller = WHY(given, earlier[10 - len(kept) - 2 :])
        elif len(kept) == 2:
            fuller = WHY(given[: used + 1], earlier[8:])
        else:
            fuller = WHY(given[:1], earlier[8:])
        assert words(fuller) > window


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


def test_the_bound_grows_with_every_message_and_call() -> None:
    say = {"role": "user", "content": "ab"}
    call = {"role": "assistant", "content": "", "tool_calls": [{"id": "c"}]}
    assert token_bound([say, say]) == TEMPLATE_TOKENS + 4
    assert token_bound([say, say, call]) >= TEMPLATE_TOKENS + MESSAGE_TOKENS + 4 + len("id c")


def test_the_bound_grows_with_functions() -> None:
    say = [{"role": "user", "content": "ab"}]
    assert token_bound(say, [{"name": "add"}]) >= token_bound(say) + len("name add")
