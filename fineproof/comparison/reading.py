"""Files to records, streamed: JSON lines, gzip'd or not, or one JSON document of any layout."""

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fineproof.errors import UserError
from fineproof.imports import unfolded

_LONGEST_LINE = 256 * 2**20
_LONGEST_DOCUMENT = 2 * 2**30


@dataclass(frozen=True)
class Record:
    """``place`` says where it stands in its file, for a person."""

    place: str
    fields: dict[str, Any]


def records(path: Path) -> Iterator[Record]:
    """The objects in a file. :class:`UserError` names the line that cannot be read."""
    try:
        with _opened(path) as file:
            yield from _parsed(path, file)
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{path} cannot be read: {reason}.") from error


def _opened(path: Path) -> IO[bytes]:
    file = path.open("rb")
    # Peeked at, not read and reopened: the file may be a pipe.
    if file.peek(2)[:2] == b"\x1f\x8b":
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]  # an IO[bytes] in all but name
    return file


def _parsed(path: Path, file: IO[bytes]) -> Iterator[Record]:
    lines = _lines(path, file)
    number, first = next(lines, (0, b""))
    if not number:
        raise UserError(f"{path} is empty.")
    try:
        value = _json(first)
    except ValueError as error:
        yield from _document(path, number, first, file, error)
        return
    following = next(lines, None)
    if following is None and (items := unfolded(value)) is not None:
        yield from _items(path, items)
        return
    yield _record(path, f"line {number}", value)
    while following is not None:
        number, line = following
        try:
            value = _json(line)
        except ValueError as error:
            raise UserError(f"{path}, line {number} is not JSON: {_reason(error)}.") from error
        yield _record(path, f"line {number}", value)
        following = next(lines, None)


def _lines(path: Path, file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that are not blank, numbered. Only LF ends one: JSON text may hold other ends."""
    number = 0
    while line := file.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            raise UserError(f"{path}, line {number} is longer than {_LONGEST_LINE >> 20} MiB.")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.strip():
            yield number, line


def _document(
    path: Path, number: int, first: bytes, file: IO[bytes], error: ValueError
) -> Iterator[Record]:
    """One JSON document over many lines, of which ``first`` is no JSON by itself."""
    begun = first.strip()
    if begun[-1:] not in (b"{", b"[", b",") or begun[:1] not in (b"{", b"["):
        raise UserError(f"{path}, line {number} is not JSON: {_reason(error)}.") from error
    whole = first + file.read(_LONGEST_DOCUMENT)
    try:
        value = _json(whole)
    except ValueError as wrong:
        line = number - 1 + getattr(wrong, "lineno", 1)
        raise UserError(f"{path}, line {line} is not JSON: {_reason(wrong)}.") from wrong
    items = unfolded(value)
    yield from _items(path, [value] if items is None else items)


def _items(path: Path, items: list[Any]) -> Iterator[Record]:
    if not items:
        raise UserError(f"{path} holds no items.")
    for number, item in enumerate(items, 1):
        yield _record(path, f"item {number}", item)


def _record(path: Path, place: str, value: Any) -> Record:
    if not isinstance(value, dict):
        raise UserError(f'{path}, {place} is no JSON object of the form {{"id": …, "score": …}}.')
    return Record(place, value)


def _json(text: bytes) -> Any:
    """Raises ``ValueError``, also of what is no text or nested without end."""
    try:
        return json.loads(text.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _reason(error: ValueError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.lower()} at column {error.colno}"
    return str(error)
