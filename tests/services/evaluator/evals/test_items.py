"""Items against schemas that mean well, and schemas that do not."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.common.errors import InvalidRequest
from services.evaluator.evals.items import ItemSchema, ReadItem, read_inline, read_lines
from services.evaluator.evals.schemas import InlineItem

WORD = {"type": "object", "properties": {"w": {"type": "string"}}, "required": ["w"]}


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


async def test_a_file_without_items_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no items"):
        await read("", " ")


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(depth):
        schema = {"properties": {"a": schema}}
    return schema


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        (nested(40), "deep"),
        ({"enum": list(range(6_000))}, "parts"),
        ({"$ref": "http://example.com/schema.json"}, "within the schema"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "within the schema"),
        ({"patternProperties": {"^a": {}}}, "patternProperties"),
        ({"$dynamicRef": "#a"}, "$dynamicRef"),
        ({"properties": {"a": {"pattern": "("}}}, "regular expression"),
        ({"type": "no such type"}, "no such type"),
        ({"properties": 5}, "5"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        ItemSchema(schema)
    assert reason in refusal.value.message
    assert refusal.value.code == "invalid_schema"


def test_a_schema_that_costs_too_much_is_given_up() -> None:
    pattern = ItemSchema({"properties": {"a": {"pattern": "^(a|aa)+$"}}})
    assert "too long" in str(pattern.fault({"a": "a" * 60 + "b"}))
    doubling = {
        "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
        | {"d30": {"type": "object"}},
        "$ref": "#/$defs/d0",
    }
    assert "too long" in str(ItemSchema(doubling).fault({}))


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "#/$defs/nowhere"}])
def test_a_schema_that_leads_nowhere_is_a_fault_of_the_item(schema: dict[str, Any]) -> None:
    assert ItemSchema(schema).fault({}) is not None


def test_an_inline_item_is_named_by_its_place() -> None:
    content = [InlineItem(item={"w": "a"}), InlineItem(item={"w": 2})]
    with pytest.raises(InvalidRequest, match="Item 1 of the data"):
        read_inline(content, ItemSchema(WORD))
