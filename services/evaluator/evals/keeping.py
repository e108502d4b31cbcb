"""JSON that comes from outside, as it can be kept and shown again."""

import math
import re
from typing import Any, TypeVar

T = TypeVar("T")

MOST_DEPTH = 100
"""Levels that what callers and models send may nest; Pydantic writes out 255."""

_UNHELD = re.compile("[\x00\ud800-\udfff]")


def held(value: Any) -> Any:
    """As PostgreSQL holds it: U+FFFD for NUL and for half a character, null for what is no finite
    number. What a model says may hold all of these, and is no reason to lose what others said."""
    match value:
        case str():
            return _UNHELD.sub("\ufffd", value)
        case dict():
            return {held(key): held(each) for key, each in value.items()}
        case list():
            return [held(each) for each in value]
        case float() if not math.isfinite(value):
            return None
    return value


def is_deep(value: Any, most: int = MOST_DEPTH) -> bool:
    """Whether lists and objects nest in it more than ``most`` levels."""
    if not isinstance(value, (dict, list)):
        return False
    below = value.values() if isinstance(value, dict) else value
    return most == 0 or any(is_deep(each, most - 1) for each in below)


def shallow(value: T) -> T:
    """``ValueError`` for what is deep."""
    if is_deep(value):
        raise ValueError(f"it nests more than {MOST_DEPTH} levels; make it flatter")
    return value
