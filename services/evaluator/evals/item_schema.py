"""An eval's ``item_schema``: a JSON Schema that comes from a caller.

Nothing in it is fetched, and what it may cost is bounded.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from services.common.errors import InvalidRequest
from services.evaluator.evals.schemas import CustomConfig, DataSourceConfig, Json

MOST_DEPTH, MOST_NODES = 32, 5_000
PATTERN_SECONDS = 0.1
MOST_MESSAGE = 300  # characters
_REFUSED = ("$dynamicRef", "$recursiveRef", "patternProperties")


class TooCostly(Exception):
    """A budget is spent."""


class Budget:
    """What holding items against a schema may take: keywords applied, and seconds that the thread
    works on it, from now on."""

    def __init__(self, steps: int, seconds: float) -> None:
        self._steps = steps
        self._until = time.thread_time() + seconds

    @property
    def seconds(self) -> float:
        return self._until - time.thread_time()

    def spend(self) -> None:
        self._steps -= 1
        if self._steps < 0 or self.seconds <= 0:
            raise TooCostly


_budget: ContextVar[Budget] = ContextVar("budget")

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _counted(keyword: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        _budget.get().spend()
        for error in keyword(validator, value, instance, schema) or ():
            # It quotes the whole instance, and anyOf keeps one for each of its parts.
            error.message = error.message[:MOST_MESSAGE]
            error.args = ()
            yield error

    return counted


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "string"):
        return
    seconds = min(PATTERN_SECONDS, _budget.get().seconds)
    try:
        found = regex.search(pattern, instance, timeout=max(0.001, seconds))
    except TimeoutError as error:
        raise TooCostly from error
    if not found:
        yield ValidationError(f"'{instance[:100]}' does not match '{pattern[:100]}'")


def _unique(validator: Any, wanted: bool, instance: Any, _: Any) -> Iterator[ValidationError]:
    """jsonschema's own compares each with each where they cannot be sorted: hours in one step."""
    if not wanted or not validator.is_type(instance, "array"):
        return
    if len({_frozen(each) for each in instance}) < len(instance):
        yield ValidationError("its elements are not unique")


def _frozen(value: Any) -> Any:
    """Hashable, and equal where JSON values are: 1 and 1.0, not 1 and true."""
    if isinstance(value, dict):
        return frozenset((key, _frozen(each)) for key, each in value.items())
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return (bool, value) if isinstance(value, bool) else value


_OURS: Mapping[str, Keyword] = {"pattern": _pattern, "uniqueItems": _unique}
_Validator: Any = validators.extend(
    Draft202012Validator,
    {
        name: _counted(keyword)
        for name, keyword in {**Draft202012Validator.VALIDATORS, **_OURS}.items()
    },
)


class ItemSchema:
    """A JSON Schema (draft 2020-12) of items; ``InvalidRequest`` for one that cannot be used."""

    def __init__(self, schema: Json) -> None:
        _check_shape(schema)
        try:
            Draft202012Validator.check_schema(schema)
        except (SchemaError, RecursionError) as error:
            raise _wrong_schema(getattr(error, "message", "it is too deep")) from error
        # An empty registry: what jsonschema does without one is to fetch.
        self._validator = _Validator(schema, registry=Registry())

    def fault(self, item: Json, budget: Budget) -> str | None:
        """What is wrong with ``item``, None when nothing is; ``TooCostly`` where that takes more
        than is left of the budget."""
        token = _budget.set(budget)
        try:
            error = next(self._validator.iter_errors(item), None)
        except (RecursionError, Unresolvable):
            return "the item_schema refers to what is not there, or to itself without end"
        except OverflowError:
            return "it holds a number too large for the item_schema's"
        finally:
            _budget.reset(token)
        if error is None:
            return None
        path = ".".join(str(part) for part in error.absolute_path)
        return f"{path[:MOST_MESSAGE] or 'item'}: {error.message}"


def schema_of(config: DataSourceConfig) -> ItemSchema:
    return ItemSchema(config.item_schema if isinstance(config, CustomConfig) else {})


def _check_shape(schema: Json) -> None:
    nodes = 0
    level: list[Any] = [schema]
    for _ in range(MOST_DEPTH):
        below: list[Any] = []
        for node in level:
            if isinstance(node, Mapping):
                _check_node(node)
            below += _children(node)
        nodes += len(below)
        if nodes > MOST_NODES:
            raise _wrong_schema(f"it has more than {MOST_NODES} parts")
        if not below:
            return
        level = below
    raise _wrong_schema(f"it is nested more than {MOST_DEPTH} deep")


def _children(node: Any) -> list[Any]:
    if isinstance(node, Mapping):
        return list(node.values())
    return node if isinstance(node, list) else []


def _check_node(node: Mapping[str, Any]) -> None:
    for keyword in _REFUSED:
        if isinstance(node.get(keyword), (str, dict)):
            raise _wrong_schema(f"'{keyword}' is not done here")
    reference = node.get("$ref")
    if isinstance(reference, str) and not reference.startswith("#"):
        raise _wrong_schema("'$ref' may point within the schema only, as '#/$defs/x' does")
    pattern = node.get("pattern")
    if isinstance(pattern, str):
        try:
            regex.compile(pattern)
        except regex.error as error:
            raise _wrong_schema(f"'{pattern[:100]}' is no regular expression: {error}") from error


def _wrong_schema(reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"The item_schema cannot be used: {reason[:500]}.",
        code="invalid_schema",
        param="data_source_config.item_schema",
    )
