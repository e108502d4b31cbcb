"""A bulk ingestion's body: JSON lines, checked as they arrive and laid down on disk.

Nothing touches the database while a client sends, however slowly; memory holds one block.
"""

import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from services.common.contracts.base import attributes_fault
from services.common.contracts.retriever import PassageInput
from services.common.errors import InvalidRequest, TooLarge
from services.retriever.rows import Row, RowFile
from services.retriever.vectors import check_size, unit

# A text of 100,000 characters, each written as two \\uXXXX escapes, fits in it.
MAX_LINE = 2 * 2**20


class PassageLines:
    """Takes the body in pieces; gives the rows back once it is whole.

    ``feed`` and ``finish`` raise ``InvalidRequest`` naming the line at fault, counted from 1, or
    ``TooLarge``. Empty lines are passed over. ``dimensions`` is asked, and may raise, when a
    passage brings a vector; then ``bring_vectors``.
    """

    def __init__(self, *, max_bytes: int, dimensions: Callable[[], int]) -> None:
        self.bring_vectors = False
        self._dimensions = dimensions
        self._rows = RowFile()
        self._line = 0
        self._bytes = 0
        self._max_bytes = max_bytes
        self._tail = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._rows.__exit__(kind, error, trace)

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
        if self._rows.count == 0:
            raise InvalidRequest(
                "The body holds no passages; send one JSON object a line.", code="missing_body"
            )

    def rows(self) -> Iterator[Row]:
        return iter(self._rows)

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
        self._rows.add(
            Row(
                self._line,
                passage.id,
                passage.doc_id or passage.id,
                passage.title,
                passage.text,
                json.dumps(passage.attributes),
                vector=self._vector(passage),
            )
        )

    def _vector(self, passage: PassageInput) -> str | None:
        if passage.embedding is None:
            return None
        self.bring_vectors = True
        try:
            check_size(len(passage.embedding), self._dimensions())
            vector = unit(passage.embedding)
        except ValueError as error:
            raise _fault(self._line, f"'embedding': {error}", param="embedding") from None
        return b64encode(vector.astype(np.float16).tobytes()).decode()


def _unstorable(passage: PassageInput) -> str | None:
    """Why the store does not hold this, though the wire's types let it through; None if it does."""
    attributes = passage.attributes
    texts = [passage.text, passage.title, *attributes, *map(str, attributes.values())]
    if any("\x00" in text for text in texts):
        return "it holds a NUL character, which PostgreSQL cannot store"
    if not passage.text.strip():
        return "'text' is blank"
    return attributes_fault(attributes)


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
