"""A bulk ingestion's body: JSON lines, checked as they arrive and laid down on disk.

Nothing touches the database while a client sends, however slowly; memory holds one block.
"""

import json
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Any, NamedTuple, Self

from pydantic import ValidationError

from services.common.contracts.base import Attributes
from services.common.contracts.retriever import PassageInput
from services.common.errors import InvalidRequest, TooLarge

# A text of 100,000 characters, each written as two \\uXXXX escapes, fits in it.
MAX_LINE = 2 * 2**20

_IN_MEMORY = 4 * 2**20


class Row(NamedTuple):
    """One passage, as it goes into the staging table; ``attributes`` is JSON text."""

    line: int
    id: str
    doc_id: str
    title: str
    text: str
    attributes: str


class PassageLines:
    """Takes the body in pieces; gives the rows back once it is whole.

    ``feed`` and ``finish`` raise ``InvalidRequest`` naming the line at fault, counted from 1, or
    ``TooLarge``. Empty lines are passed over.
    """

    def __init__(self, *, max_bytes: int) -> None:
        self.count = 0
        self._line = 0
        self._bytes = 0
        self._max_bytes = max_bytes
        self._tail = b""
        # Closed by __exit__: the object is the context.
        self._file = SpooledTemporaryFile(_IN_MEMORY, "w+", encoding="utf-8")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def feed(self, block: bytes) -> None:
        self._bytes += len(block)
        if self._bytes > self._max_bytes:
            raise TooLarge(
                f"The body is larger than {self._max_bytes} bytes; send it in several ingestions."
            )
        *lines, self._tail = (self._tail + block).split(b"\n")
        for line in lines:
            self._take(line)
        if len(self._tail) > MAX_LINE:
            raise _fault(self._line + 1, f"longer than {MAX_LINE} bytes", code="line_too_long")

    def finish(self) -> None:
        self._take(self._tail)
        self._tail = b""
        if self.count == 0:
            raise InvalidRequest(
                "The body holds no passages; send one JSON object a line.", code="missing_body"
            )

    def rows(self) -> Iterator[Row]:
        self._file.seek(0)
        for line in self._file:
            yield Row(*json.loads(line))

    def _take(self, line: bytes) -> None:
        self._line += 1
        if not line.strip():
            return
        if len(line) > MAX_LINE:
            raise _fault(self._line, f"longer than {MAX_LINE} bytes", code="line_too_long")
        try:
            passage = PassageInput.model_validate_json(line)
        except ValidationError as error:
            raise _explained(self._line, error) from None
        reason = _unstorable(passage)
        if reason is not None:
            raise _fault(self._line, reason)
        row = Row(
            self._line,
            passage.id,
            passage.doc_id or passage.id,
            passage.title,
            passage.text,
            json.dumps(passage.attributes),
        )
        self._file.write(json.dumps(row) + "\n")
        self.count += 1


def _unstorable(passage: PassageInput) -> str | None:
    """Why the store does not hold this, though the wire's types let it through; None if it does."""
    attributes = passage.attributes
    texts = [passage.text, passage.title, *attributes, *map(str, attributes.values())]
    if any("\x00" in text for text in texts):
        return "it holds a NUL character, which PostgreSQL cannot store"
    if not passage.text.strip():
        return "'text' is blank"
    return _over_limits(attributes)


def _over_limits(attributes: Attributes) -> str | None:
    if len(attributes) > 16:
        return "'attributes' holds at most 16 pairs"
    if any(not 1 <= len(key) <= 64 for key in attributes):
        return "keys of 'attributes' hold 1 to 64 characters"
    if "doc_id" in attributes:
        return "'doc_id' is a field of the passage and cannot be an attribute too"
    if any(isinstance(value, str) and len(value) > 512 for value in attributes.values()):
        return "values of 'attributes' hold at most 512 characters"
    return None


def _explained(line: int, error: ValidationError) -> InvalidRequest:
    first: Any = error.errors(include_url=False, include_input=False)[0]
    if first["type"] == "json_invalid":
        # The parser counts lines of its own; ours are the ones the sender knows.
        reason = str(first["ctx"]["error"]).replace(" at line 1 column", " at column")
        return _fault(line, f"not valid JSON ({reason})", code="invalid_json")
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return _fault(line, f"unknown field '{field}'", code="unknown_parameter", param=field)
    if first["type"] == "missing":
        return _fault(line, f"'{field}' is missing", code="missing_required_parameter", param=field)
    message = first["msg"].removeprefix("Value error, ")
    return _fault(line, f"'{field}': {message}" if field else message, param=field or None)


def _fault(
    line: int, reason: str, *, code: str = "invalid_passage", param: str | None = None
) -> InvalidRequest:
    return InvalidRequest(f"Line {line}: {reason}. Nothing was stored.", code=code, param=param)
