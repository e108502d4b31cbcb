"""The items of a run: read, held against the eval's schema, and shown where they are wrong.

A schema comes from a caller. Nothing in it is fetched, and what it may cost is bounded.
"""

import hashlib
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import regex
from jsonschema import Draft202012Validator, ValidationError, validators
from jsonschema.exceptions import SchemaError
from pydantic import ValidationError as Misread
from referencing import Registry
from referencing.exceptions import Unresolvable

from services.common.errors import InvalidRequest
from services.evaluator.evals.schemas import CustomConfig, DataSourceConfig, InlineItem, Json

MOST_DEPTH, MOST_NODES = 32, 5_000
MOST_STEPS = 20_000  # keywords applied to one item
MOST_STEPS_INLINE = 500_000  # to all items of one request
PATTERN_SECONDS = 0.1
MOST_LINE = 16 * 2**20  # characters
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_REFUSED = ("$dynamicRef", "$recursiveRef", "patternProperties")


class _Steps:
    def __init__(self, most: int) -> None:
        self.left = most


class TooCostly(Exception):
    pass


_steps: ContextVar[_Steps] = ContextVar("steps")

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


def _counted(keyword: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        steps = _steps.get()
        steps.left -= 1
        if steps.left < 0:
            raise TooCostly
        return keyword(validator, value, instance, schema)

    return counted


def _pattern(validator: Any, pattern: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "string"):
        return
    try:
        found = regex.search(pattern, instance, timeout=PATTERN_SECONDS)
    except TimeoutError as error:
        raise TooCostly from error
    if not found:
        yield ValidationError(f"'{instance[:100]}' does not match '{pattern[:100]}'")


_Validator: Any = validators.extend(
    Draft202012Validator,
    {
        name: _counted(keyword)
        for name, keyword in {**Draft202012Validator.VALIDATORS, "pattern": _pattern}.items()
    },
)


@dataclass(frozen=True)
class ReadItem:
    """``sha256`` is over the item's canonical JSON."""

    ordinal: int
    item: Json
    sample: Json | None
    sha256: str


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

    def fault(self, item: Json, steps: _Steps | None = None) -> str | None:
        """What is wrong with ``item``, None when nothing is."""
        token = _steps.set(steps or _Steps(MOST_STEPS))
        try:
            error = next(self._validator.iter_errors(item), None)
        except TooCostly:
            return "holding it against the item_schema takes too long"
        except (RecursionError, Unresolvable):
            return "the item_schema refers to what is not there, or to itself without end"
        finally:
            _steps.reset(token)
        if error is None:
            return None
        path = ".".join(str(part) for part in error.absolute_path)
        return f"{path or 'item'}: {error.message[:300]}"


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


def read_inline(content: list[InlineItem], schema: ItemSchema) -> list[ReadItem]:
    if not content:
        raise InvalidRequest(
            "The content holds no items.", code="invalid_items", param="data_source.source.content"
        )
    steps = _Steps(MOST_STEPS_INLINE)
    return [_checked(n, each, f"Item {n}", schema, steps) for n, each in enumerate(content)]


async def read_lines(lines: AsyncIterator[str], schema: ItemSchema) -> AsyncIterator[ReadItem]:
    """Items of a file's JSON lines ``{"item": …, "sample": …}``, blank lines skipped.

    ``InvalidRequest`` names the line at fault, counted from 1.
    """
    number = ordinal = 0
    async for line in lines:
        number += 1
        if not line.strip():
            continue
        where = f"Line {number}"
        if len(line) > MOST_LINE:
            raise _wrong_item(where, f"it is longer than {MOST_LINE} characters")
        try:
            parsed = InlineItem.model_validate_json(line)
        except Misread as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise _wrong_item(
                where, f"{field}: {first['msg']}" if field else first["msg"]
            ) from error
        yield _checked(ordinal, parsed, where, schema, None)
        ordinal += 1
    if not ordinal:
        raise InvalidRequest("The file holds no items.", code="invalid_items")


def _checked(
    ordinal: int, each: InlineItem, where: str, schema: ItemSchema, steps: _Steps | None
) -> ReadItem:
    try:
        canonical = _written(each.item, sort_keys=True).encode()
        held = _NUL.search(_written([each.item, each.sample])) is None
    except (ValueError, RecursionError) as error:
        raise _wrong_item(where, "it holds numbers or text that JSON cannot") from error
    if not held:
        raise _wrong_item(where, "it holds NUL characters, which cannot be kept")
    if (fault := schema.fault(each.item, steps)) is not None:
        raise _wrong_item(where, fault)
    return ReadItem(ordinal, each.item, each.sample, hashlib.sha256(canonical).hexdigest())


def _written(value: Any, *, sort_keys: bool = False) -> str:
    """JSON; ``ValueError`` for what is not finite, or is half a character."""
    text = json.dumps(
        value, sort_keys=sort_keys, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    text.encode()
    return text


def _wrong_item(where: str, reason: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where} of the data: {reason}.", code="invalid_items", param="data_source.source"
    )
