"""JSON lines of a folder of data: ``corpus.jsonl``, ``train.jsonl``, ``test.jsonl``.

Rows of the corpus: ``id``, ``text``, and optionally ``title``, ``doc_id``. Rows of train and test:
``id``, ``question``, ``answer``, and optionally ``evidence_ids`` (ids of the corpus), ``aliases``,
``alt_answers``, ``doc_id``; other fields are carried along. Ids may be numbers.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fineproof.errors import UserError

CORPUS, TRAIN, TEST = "corpus.jsonl", "train.jsonl", "test.jsonl"
PASSAGE = ("id", "text")
PAIR = ("id", "question", "answer")


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is not blank, ``number`` from 1 and ``size`` in bytes; ``problem`` says what is
    wrong with it, else ``row`` holds it."""

    number: int
    size: int
    row: dict[str, Any]
    problem: str | None = None


def lines(path: Path, needs: tuple[str, ...]) -> Iterator[Line]:
    """Every line, good or bad; ``needs`` are fields that must be texts with words in them."""
    with path.open("rb") as source:
        for number, raw in enumerate(source, 1):
            if raw.strip():
                row, problem = _parsed(raw, needs)
                yield Line(number, len(raw), row, problem)


def rows(path: Path, needs: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The rows of a file. Raises :class:`UserError` naming the first bad line."""
    for line in lines(path, needs):
        if line.problem is not None:
            raise UserError(f"{path}, line {line.number}: {line.problem}.")
        yield line.row


def need_folder(folder: Path) -> None:
    """Raise :class:`UserError` unless ``folder`` holds the three files."""
    for name in (CORPUS, TRAIN, TEST):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} has no {name}: a data folder holds {CORPUS}, {TRAIN} and {TEST}."
            )


def sha256_of(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def dumped(row: dict[str, Any]) -> str:
    """A row as one line, with its end."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def _parsed(raw: bytes, needs: tuple[str, ...]) -> tuple[dict[str, Any], str | None]:
    try:
        row = json.loads(raw)
    except json.JSONDecodeError as error:
        return {}, f"not JSON ({error.msg})"
    except UnicodeDecodeError:
        return {}, "not UTF-8"
    if not isinstance(row, dict):
        return {}, "a row is a JSON object"
    if (b"\\ud" in raw or b"\\uD" in raw) and not _is_text(row):
        return row, "holds half a character (a lone surrogate)"
    if any(not isinstance(key, str | int) for key in _listed(row, "evidence_ids")):
        return row, "'evidence_ids' holds what is no id"
    for field in ("aliases", "alt_answers"):
        if any(not isinstance(text, str) for text in _listed(row, field)):
            return row, f"'{field}' holds what is no text"
    _name(row)
    for field in needs:
        if not isinstance(row.get(field), str) or not row[field].strip():
            return row, f"'{field}' is missing or empty"
        if "\x00" in row[field]:
            return row, f"'{field}' holds a NUL character"
    for field in ("evidence_ids", "aliases", "alt_answers"):
        if not isinstance(row.get(field) or [], list):
            return row, f"'{field}' is not a list"
    return row, None


def _is_text(row: dict[str, Any]) -> bool:
    """Whether it can be written as UTF-8, as JSON's escapes of half a character cannot."""
    try:
        dumped(row).encode()
    except UnicodeEncodeError:
        return False
    return True


def _listed(row: dict[str, Any], field: str) -> list[Any]:
    """The list that ``field`` is; none where it is another thing."""
    found = row.get(field)
    return found if isinstance(found, list) else []


def _name(row: dict[str, Any]) -> None:
    """Make the ids of ``row`` texts, as the services take them."""
    for field in ("id", "doc_id"):
        if isinstance(row.get(field), int):
            row[field] = str(row[field])
    if isinstance(evidence := row.get("evidence_ids"), list):
        row["evidence_ids"] = [str(key) for key in evidence]
