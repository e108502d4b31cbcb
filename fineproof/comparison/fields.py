"""What stands in a record: fields by dotted path, scores and ids in their right types."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fineproof.errors import UserError

MISSING: Any = object()
Kind = Literal["boolean", "number"]
_LARGEST = 1e100  # squares of what is far larger are infinite


def field(record: Any, path: str) -> Any:
    """The value at ``path``: a key with that very name, else ``scores.f1`` step by step.

    Numbers step into lists. ``MISSING`` where there is none; null on the way is null.
    """
    if isinstance(record, Mapping):
        if path in record:
            return record[path]
        if "." not in path:  # asked of every line, for each usual name
            return MISSING
    value = record
    for step in path.split("."):
        if value is None:
            return None
        if isinstance(value, Mapping) and step in value:
            value = value[step]
        elif (
            isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value)
        ):
            value = value[int(step)]
        else:
            return MISSING
    return value


def known_fields(record: Any, prefix: str = "") -> list[str]:
    """Paths of all that could be a score, to be named when the one asked for is not there."""
    found: list[str] = []
    if isinstance(record, Mapping):
        for key, value in record.items():
            if isinstance(value, Mapping):
                found += known_fields(value, f"{prefix}{key}.")
            elif value is None or isinstance(value, bool | int | float):
                found.append(f"{prefix}{key}")
    return found


def score_in(value: Any, what: str) -> tuple[float | None, Kind | None]:
    """A score and its type; null is no score yet, and not 0. Raises :class:`UserError`."""
    if value is None:
        return None, None
    if isinstance(value, bool):
        return float(value), "boolean"
    if isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise UserError(f"{what} is {value!s:.20}; write null for an answer without a score.")
        if abs(number) > _LARGEST:
            raise UserError(f"{what} is {number:g}; scores are reckoned with up to ±{_LARGEST:g}.")
        return number, "number"
    raise UserError(
        f"{what} is {_named(value)}; a score is a number, true, false, or null where there is none."
    )


def id_in(value: Any, what: str) -> str:
    """An item's id as text: 7, 7.0 and "7" are one item, as tools write them differently."""
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    raise UserError(f"{what} is {_named(value)}; an id is text or a whole number.")


def _named(value: Any) -> str:
    if value is MISSING:
        return "missing"
    if value is None:
        return "null"
    if isinstance(value, str):
        return f"the text {value[:40]!r}" if value else "empty"
    if isinstance(value, Mapping):
        inner = ", ".join(list(map(str, value))[:5])
        return f"an object (its fields: {inner})"
    if isinstance(value, Sequence):
        return "a list"
    return repr(value)
