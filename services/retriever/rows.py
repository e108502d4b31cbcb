"""Passages on their way in, laid down on disk: memory holds one, however many there are."""

import json
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import NamedTuple, Self

_IN_MEMORY = 4 * 2**20


class Row(NamedTuple):
    """One passage, as it goes into the staging table; ``attributes`` is JSON text. ``start`` is its
    place in the text of the file it was cut from, ``vector`` the one that came with it: its numbers
    in half precision, as base64."""

    line: int
    id: str
    doc_id: str
    title: str
    text: str
    attributes: str
    start: int | None = None
    vector: str | None = None


class RowFile:
    def __init__(self) -> None:
        self.count = 0
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

    def add(self, row: Row) -> None:
        self._file.write(json.dumps(row) + "\n")
        self.count += 1

    def __iter__(self) -> Iterator[Row]:
        self._file.seek(0)
        for line in self._file:
            yield Row(*json.loads(line))
