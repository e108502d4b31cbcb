"""Items, and what is wrong with them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.common.errors import InvalidRequest
from services.evaluator.evals import items as items_room
from services.evaluator.evals.item_schema import ItemSchema
from services.evaluator.evals.items import ReadItem, check_lines, read_inline, read_lines
from services.evaluator.evals.schemas import InlineItem

WORD = {"type": "object", "properties": {"w": {"type": "string"}}, "required": ["w"]}
EIGHT_STEPS = {"allOf": [{"minProperties": 0}] * 7}


async def read(*lines: str, schema: dict[str, Any] = WORD) -> list[ReadItem]:
    async def stream() -> AsyncIterator[str]:
        for line in lines:
            yield line

    return [item async for item in read_lines(stream(), ItemSchema(schema))]


async def test_lines_are_items_in_their_order_and_blank_ones_are_none() -> None:
    items = await read('{"item": {"w": "a"}}', "", '{"item": {"w": "b"}, "sample": {"x": 1}}')
    assert [(each.ordinal, each.item) for each in items] == [(0, {"w": "a"}), (1, {"w": "b"})]
    assert items[1].sample == {"x": 1}
    assert items[0].sha256 != items[1].sha256


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "Line 2"),
        ("[1]", "Line 2"),
        ('{"w": "a"}', "item"),
        ('{"item": {"w": 1}}', "w: 1 is not of type 'string'"),
        ('{"item": {}}', "'w' is a required property"),
        ('{"item": {"w": "\\u0000"}}', "NUL"),
        ('{"item": {"w": "a", "n": NaN}}', "Line 2"),
        ('{"item": {"w": "a", "n": 1e999}}', "Line 2"),
        ('{"item": {"w": "\\ud800"}}', "Line 2"),
        ('{"item": {"w": "a"}, "more": 1}', "more"),
        ('{"item": ' + '{"a":' * 5_000 + "1" + "}" * 5_001, "Line 2"),
    ],
)
async def test_a_line_that_will_not_do_is_named_with_its_reason(line: str, reason: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await read('{"item": {"w": "a"}}', line)
    assert refusal.value.message.startswith("Line 2 of the data")
    assert reason in refusal.value.message
    assert refusal.value.code == "invalid_items"


async def test_a_backslash_before_u0000_is_text_like_any_other() -> None:
    [item] = await read('{"item": {"w": "\\\\u0000"}}')
    assert item.item == {"w": "\\u0000"}


async def test_others_have_their_turn_between_two_lines() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other())
    await read(*['{"item": {"w": "a"}}'] * 20)
    beside.cancel()
    assert turns >= 20


async def test_a_file_without_items_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no items"):
        await read("", " ")


async def test_all_lines_of_a_request_share_one_budget_and_a_worker_gives_each_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(items_room, "MOST_STEPS_ASKED", 20)
    monkeypatch.setattr(items_room, "MOST_STEPS", 10)
    schema = ItemSchema(EIGHT_STEPS)
    inline = [InlineItem(item={})] * 3
    assert len(read_inline(inline[:2], schema)) == 2
    with pytest.raises(InvalidRequest, match=r"Item 2 of the data.*simpler"):
        read_inline(inline, schema)
    assert len(await read(*['{"item": {}}'] * 3, schema=EIGHT_STEPS)) == 3
    # What is beyond the budget is left to the worker.
    check_lines([*['{"item": {}}'] * 3, "{not json"], schema)
    with pytest.raises(InvalidRequest, match="Line 3"):
        check_lines([*['{"item": {}}'] * 2, "{not json"], schema)
    monkeypatch.setattr(items_room, "MOST_STEPS", 5)
    with pytest.raises(InvalidRequest, match=r"Line 1 of the data.*too long"):
        await read('{"item": {}}', schema=EIGHT_STEPS)


def test_an_inline_item_is_named_by_its_place() -> None:
    content = [InlineItem(item={"w": "a"}), InlineItem(item={"w": 2})]
    with pytest.raises(InvalidRequest, match="Item 1 of the data"):
        read_inline(content, ItemSchema(WORD))
