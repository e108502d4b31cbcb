"""``{{item.x}}`` and ``{{sample.output_text}}``: looked up, never evaluated."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from services.common.errors import InvalidRequest
from services.evaluator.evals.keeping import held

MOST_TEXT = 1_000_000
"""Characters of one text after its places are filled."""

_PLACE = re.compile(r"\{\{([^{}]*)\}\}")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,9})\]")
_PATH = re.compile(r"(?:item|sample)(?:\.[^.\[\]{}]+|\[\d{1,9}\])+")

Names = Mapping[str, Any]
"""``item``, and ``sample`` once there is one."""


class Unfilled(Exception):
    """A place that this item or sample has nothing for; the message says which."""


def check(template: str, *, allowed: tuple[str, ...], where: str) -> None:
    """``InvalidRequest`` for a place that no item could fill."""
    for path in places(template):
        if not is_path(path, allowed):
            named = " and ".join(f"{{{{{name}.…}}}}" for name in allowed)
            raise InvalidRequest(
                f"{where}: '{{{{{path[:100]}}}}}' cannot be filled; templates here name {named}.",
                code="invalid_template",
            )


def is_path(path: str, allowed: tuple[str, ...]) -> bool:
    """``item.x``, ``item.x[0].y``: what ``look_up`` finds where it is there."""
    return bool(_PATH.fullmatch(path)) and path.partition(".")[0].partition("[")[0] in allowed


def places(template: str) -> Iterator[str]:
    for found in _PLACE.finditer(template):
        yield found.group(1).strip()


def fill(template: str, names: Names) -> str:
    """``Unfilled`` where something is missing, or the text grows beyond ``MOST_TEXT``."""
    parts: list[str] = []
    size = end = 0
    for found in _PLACE.finditer(template):
        value = as_text(look_up(found.group(1).strip(), names))
        parts += (template[end : found.start()], value)
        size += found.start() - end + len(value)
        if size > MOST_TEXT:
            raise Unfilled(f"the text has more than {MOST_TEXT} characters once it is filled")
        end = found.end()
    return "".join((*parts, template[end:]))


def look_up(path: str, names: Names) -> Any:
    value: Any = names
    for step in _STEP.finditer(path):
        key, index = step.group(1), step.group(2)
        try:
            value = value[int(index)] if index is not None else _member(value, key)
        except (KeyError, IndexError, TypeError):
            raise Unfilled(f"there is no {path[:200]}") from None
    return value


def _member(value: Any, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise TypeError
    if key == "output_json" and key not in value:
        return _output_json(value)
    return value[key]


def _output_json(sample: Mapping[str, Any]) -> Any:
    try:
        return held(json.loads(sample["output_text"]))
    except (ValueError, RecursionError) as error:
        raise Unfilled("sample.output_text is not JSON") from error


def as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
