"""Schemas that mean well, and schemas that do not."""

import tracemalloc
from typing import Any

import pytest

from services.common.errors import InvalidRequest
from services.evaluator.evals.item_schema import Budget, ItemSchema, TooCostly


def budget() -> Budget:
    return Budget(20_000, 10.0)


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
    with pytest.raises(TooCostly):
        pattern.fault({"a": "a" * 60 + "b"}, budget())
    doubling = {
        "$defs": {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)}
        | {"d30": {"type": "object"}},
        "$ref": "#/$defs/d0",
    }
    with pytest.raises(TooCostly):
        ItemSchema(doubling).fault({}, budget())


def test_each_with_each_is_not_compared_to_find_that_elements_are_unique() -> None:
    schema = ItemSchema({"properties": {"a": {"uniqueItems": True}}})
    mixed = [[{"b": [n, None]}, str(n)] for n in range(20_000)]
    assert schema.fault({"a": mixed}, budget()) is None
    assert schema.fault({"a": [*mixed, [{"b": [7.0, None]}, "7"]]}, budget()) == (
        "a: its elements are not unique"
    )
    assert schema.fault({"a": [0, False, "0", 1, True, [], {}]}, budget()) is None


def test_a_number_beyond_floats_is_a_fault_where_the_schema_has_one() -> None:
    schema = ItemSchema({"properties": {"a": {"multipleOf": 0.5}}})
    assert "too large" in str(schema.fault({"a": 10**400}, budget()))


def test_what_is_wrong_with_a_long_text_is_not_kept_at_its_length() -> None:
    schema = ItemSchema({"properties": {"a": {"anyOf": [{"type": "number"}] * 500}}})
    tracemalloc.start()
    fault = schema.fault({"a": "x" * 100_000}, budget())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(str(fault)) < 400
    assert peak < 10 * 2**20


def test_seconds_are_spent_as_steps_are() -> None:
    with pytest.raises(TooCostly):
        ItemSchema({"type": "object"}).fault({}, Budget(1_000, 0))


@pytest.mark.parametrize("schema", [{"$ref": "#"}, {"$ref": "#/$defs/nowhere"}])
def test_a_schema_that_leads_nowhere_is_a_fault_of_the_item(schema: dict[str, Any]) -> None:
    assert ItemSchema(schema).fault({}, budget()) is not None
