"""The items of a run: read, held against the eval's schema, and shown where they are wrong."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError as Misread

from services.common.errors import InvalidRequest
from services.evaluator.evals.item_schema import Budget, ItemSchema, TooCostly
from services.evaluator.evals.schemas import InlineItem, Json

MOST_STEPS, MOST_SECONDS = 20_000, 1.0  # of one item that a worker reads
MOST_STEPS_ASKED, MOST_SECONDS_ASKED = 500_000, 5.0  # of all items of one request
MOST_LINE = 16 * 2**20  # characters
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


@dataclass(frozen=True)
class ReadItem:
    """``sha256`` is over the item's canonical JSON."""

    ordinal: int
    item: Json
    sample: Json | None
    sha256: str


def read_inline(content: list[InlineItem], schema: ItemSchema) -> list[ReadItem]:
    """All of it within the budget of one request."""
    if not content:
        raise InvalidRequest(
            "The content holds no items.", code="invalid_items", param="data_source.source.content"
        )
    budget = Budget(MOST_STEPS_ASKED, MOST_SECONDS_ASKED)
    items = []
    for n, each in enumerate(content):
        try:
            items.append(_checked(n, each, f"Item {n}", schema, budget))
        except TooCostly as error:
            raise _wrong_item(
                f"Item {n}",
                "holding the items up to it against the item_schema takes too long; make the "
                "schema simpler, or send the items as a file",
            ) from error
    return items


def check_lines(lines: Iterable[str], schema: ItemSchema) -> None:
    """Read a file's lines as ``read_lines`` does, as far as the budget of one request goes: the
    worker reads all of them."""
    budget = Budget(MOST_STEPS_ASKED, MOST_SECONDS_ASKED)
    reader = _LineReader(schema)
    try:
        for line in lines:
            reader.read(line, budget)
    except TooCostly:
        return
    reader.end()


async def read_lines(lines: AsyncIterator[str], schema: ItemSchema) -> AsyncIterator[ReadItem]:
    """Items of a file's JSON lines ``{"item": …, "sample": …}``, blank lines skipped.

    ``InvalidRequest`` names the line at fault, counted from 1.
    """
    reader = _LineReader(schema)
    async for line in lines:
        try:
            item = reader.read(line, Budget(MOST_STEPS, MOST_SECONDS))
        except TooCostly as error:
            raise _wrong_item(
                reader.where, "holding it against the item_schema takes too long"
            ) from error
        await asyncio.sleep(0)  # many lines come in one block, and a cancel is to be noticed
        if item is not None:
            yield item
    reader.end()


class _LineReader:
    def __init__(self, schema: ItemSchema) -> None:
        self._schema = schema
        self._lines = self._items = 0

    @property
    def where(self) -> str:
        return f"Line {self._lines}"

    def read(self, line: str, budget: Budget) -> ReadItem | None:
        """None for a blank line."""
        self._lines += 1
        if not line.strip():
            return None
        if len(line) > MOST_LINE:
            raise _wrong_item(self.where, f"it is longer than {MOST_LINE} characters")
        try:
            parsed = InlineItem.model_validate_json(line)
        except Misread as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise _wrong_item(
                self.where, f"{field}: {first['msg']}" if field else first["msg"]
            ) from error
        item = _checked(self._items, parsed, self.where, self._schema, budget)
        self._items += 1
        return item

    def end(self) -> None:
        if not self._items:
            raise InvalidRequest("The file holds no items.", code="invalid_items")


def _checked(
    ordinal: int, each: InlineItem, where: str, schema: ItemSchema, budget: Budget
) -> ReadItem:
    try:
        canonical = _written(each.item, sort_keys=True).encode()
        held = _NUL.search(_written([each.item, each.sample])) is None
    except (ValueError, RecursionError) as error:
        raise _wrong_item(where, "it holds numbers or text that JSON cannot") from error
    if not held:
        raise _wrong_item(where, "it holds NUL characters, which cannot be kept")
    if (fault := schema.fault(each.item, budget)) is not None:
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
