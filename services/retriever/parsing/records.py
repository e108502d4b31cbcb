"""JSON lines: each stands by itself."""

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

from services.retriever.parsing.plain import decoded
from services.retriever.parsing.refusal import Unreadable


def json_lines(source: BinaryIO) -> Iterator[str]:
    """A string as it is; an object's ``title`` and ``text`` where it has a text, else a line for
    each of its fields."""
    for number, line in enumerate(source, start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(decoded(line))
        except (ValueError, RecursionError) as error:
            reason = f"line {number} is not valid JSON ({str(error)[:200]})"
            raise Unreadable(f"The file cannot be read as JSONL: {reason}.") from None
        yield _said(value)


def _said(value: Any) -> str:
    if isinstance(value, dict):
        if isinstance(value.get("text"), str):
            title = value.get("title")
            return f"{title}\n{value['text']}" if isinstance(title, str) else str(value["text"])
        return "\n".join(f"{key}: {_shown(inner)}" for key, inner in value.items())
    return _shown(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
