"""What a model says in vLLM's chat completions, whole or piece by piece."""

import json
from dataclasses import dataclass
from typing import Any

from services.common.contracts.generator import Usage
from services.common.errors import UpstreamFailed

CHAT = "/v1/chat/completions"


@dataclass
class Said:
    """What the model has said so far."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True)
class CallPiece:
    """More of call number ``index``; its ``id`` and ``name`` come with its first piece."""

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass(frozen=True)
class Piece:
    """What one chunk adds. ``reasoning`` is what vLLM's own parser took for it, where one runs."""

    text: str = ""
    reasoning: str = ""
    calls: tuple[CallPiece, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    cached_tokens: int = 0


def read(body: bytes) -> Said:
    """A whole answer."""
    piece = whole(body)
    return Said(piece.text, piece.finish_reason, piece.usage)


def take(said: Said, chunk: dict[str, Any]) -> str:
    """Add one chunk of a stream to what was said; returns its text."""
    piece = piece_of(chunk)
    said.text += piece.text
    said.finish_reason = piece.finish_reason or said.finish_reason
    said.usage = piece.usage or said.usage
    return piece.text


def whole(body: bytes) -> Piece:
    """A whole answer as a single piece."""
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        return _piece(choice["message"], choice["finish_reason"], answer["usage"])
    except _MALFORMED as error:
        raise unreadable() from error


def piece_of(chunk: dict[str, Any]) -> Piece:
    """One chunk of a stream; the last has no choices, but the usage."""
    try:
        choice = chunk["choices"][0] if chunk["choices"] else {"delta": {}}
        return _piece(choice["delta"], choice.get("finish_reason"), chunk.get("usage"))
    except _MALFORMED as error:
        raise unreadable() from error


_MALFORMED = (ValueError, OverflowError, KeyError, IndexError, TypeError, AttributeError)


def _piece(said: dict[str, Any], finish_reason: str | None, usage: dict[str, Any] | None) -> Piece:
    calls = enumerate(said.get("tool_calls") or ())
    details = (usage or {}).get("prompt_tokens_details") or {}
    return Piece(
        text=_text(said.get("content")),
        # Releases of vLLM differ in the name.
        reasoning=_text(said.get("reasoning") or said.get("reasoning_content")),
        calls=tuple(_call(call, at) for at, call in calls),
        finish_reason=_text(finish_reason) or None,
        usage=Usage.model_validate(usage) if usage else None,
        cached_tokens=int(details.get("cached_tokens") or 0),
    )


def _call(call: dict[str, Any], at: int) -> CallPiece:
    function = call["function"]
    return CallPiece(
        index=int(call.get("index", at)),
        id=_text(call.get("id")) or None,
        name=_text(function.get("name")) or None,
        arguments=_text(function.get("arguments")),
    )


def _text(value: Any) -> str:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"text was to be expected, not {type(value).__name__}")
    return value or ""


def unreadable() -> UpstreamFailed:
    return UpstreamFailed(
        "The model server's answer cannot be read.", code="model_server_malformed"
    )
