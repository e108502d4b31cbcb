"""What a conversation is told in: OpenAI's input items."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from services.common.contracts.base import Wire
from services.common.errors import UNSUPPORTED

# With a limit, however wide, pydantic also refuses what is no Unicode: lone surrogates.
Text = Annotated[str, Field(max_length=1_000_000)]


MAX_DEPTH = 64
"""Brackets within brackets, of a schema or filter."""


def _plain(value: Any, depth: int = 0) -> Any:
    """JSON that every reader takes: Unicode, finite numbers, and no bottomless nesting."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number must be finite")
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError("text must be valid Unicode")
    if isinstance(value, dict):
        for pair in value.items():
            _plain(pair, depth)
    if isinstance(value, list | tuple):
        for each in value:
            _plain(each, depth + 1)
    return value


Plain = BeforeValidator(_plain)


def kind(value: Any) -> str | None:
    """The ``type`` of an item or part; a message need not say that it is one."""
    named = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "message" if named is None else str(named)


def one_of(*types: str, what: str) -> BeforeValidator:
    """Refuse other types by their name, before anything else is said of them."""

    def check(value: Any) -> Any:
        named = value.get("type") if isinstance(value, dict) else None
        if named is not None and named not in types:
            raise PydanticCustomError(
                UNSUPPORTED,
                "{what} of type '{type}' are not to be had here; {types} are.",
                {"what": what, "type": str(named), "types": ", ".join(types)},
            )
        return value

    return BeforeValidator(check)


def as_messages(value: Any) -> Any:
    """A plain string is what the user says."""
    return [{"role": "user", "content": value}] if isinstance(value, str) else value


def _as_parts(value: Any) -> Any:
    return [{"type": "input_text", "text": value}] if isinstance(value, str) else value


class TextPart(Wire):
    type: Literal["input_text", "output_text", "text"]
    text: Text


class RefusalPart(Wire):
    type: Literal["refusal"]
    refusal: Text

    @property
    def text(self) -> str:
        return self.refusal


Part = Annotated[
    TextPart | RefusalPart,
    Field(discriminator="type"),
    one_of("input_text", "output_text", "text", "refusal", what="Contents"),
]
MOST_PARTS = 10_000  # of a wrong list pydantic keeps a fault for each
Parts = Annotated[list[Part], Field(max_length=MOST_PARTS), BeforeValidator(_as_parts)]


class MessageItem(Wire):
    type: Literal["message"] = "message"
    role: Literal["user", "assistant", "system", "developer"]
    content: Parts


class FunctionCallItem(Wire):
    type: Literal["function_call"]
    call_id: Text
    name: Text
    arguments: Text


class FunctionOutputItem(Wire):
    type: Literal["function_call_output"]
    call_id: Text
    output: Parts


class EarlierItem(Wire):
    """Sent back with the rest of an earlier response's output; the model is not told of it."""

    type: Literal["file_search_call", "reasoning"]


Item = Annotated[
    Annotated[MessageItem, Tag("message")]
    | Annotated[FunctionCallItem, Tag("function_call")]
    | Annotated[FunctionOutputItem, Tag("function_call_output")]
    | Annotated[EarlierItem, Tag("file_search_call")]
    | Annotated[EarlierItem, Tag("reasoning")],
    Discriminator(kind),
    one_of(
        "message",
        "function_call",
        "function_call_output",
        "file_search_call",
        "reasoning",
        what="Items",
    ),
]


def text_of(parts: Sequence[TextPart | RefusalPart]) -> str:
    return "\n".join(part.text for part in parts)
