"""A folder of data: ``corpus.jsonl``, ``train.jsonl``, ``test.jsonl``.

Rows of the corpus: ``id``, ``text``, and optionally ``title``, ``doc_id``. Rows of train and test:
``id``, ``question``, ``answer``, and optionally ``evidence_ids`` (ids of the corpus), ``aliases``,
``alt_answers``, ``doc_id``; other fields are carried along. Ids may be numbers.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from fineproof.errors import UserError


@dataclass(frozen=True)
class Dataset:
    """``passages`` counts rows of the corpus; ``sha256`` covers all three files as used."""

    name: str
    corpus: Path
    train: Path
    test: Path
    passages: int
    pairs: int
    items: int
    corpus_sha256: str
    sha256: str


def prepare(folder: Path, *, pairs: int, items: int, into: Path) -> Dataset:
    """Check ``folder`` and write the rows that will be used to ``into``.

    Takes the first ``pairs`` rows of ``train.jsonl`` and the first ``items`` of ``test.jsonl``, or
    all there are. Raises :class:`UserError` naming the file and line of the first bad row.
    """
    for name in ("corpus.jsonl", "train.jsonl", "test.jsonl"):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} has no {name}: a data folder holds corpus.jsonl, train.jsonl and "
                "test.jsonl."
            )
    into.mkdir(parents=True, exist_ok=True)
    corpus = folder / "corpus.jsonl"
    passages = sum(1 for _ in _rows(corpus, needs=("id", "text")))
    counts = {
        name: _take(folder / name, into / name, limit)
        for name, limit in (("train.jsonl", pairs), ("test.jsonl", items))
    }
    digests = [_sha256(path) for path in (corpus, into / "train.jsonl", into / "test.jsonl")]
    return Dataset(
        name=folder.resolve().name,
        corpus=corpus,
        train=into / "train.jsonl",
        test=into / "test.jsonl",
        passages=passages,
        pairs=counts["train.jsonl"],
        items=counts["test.jsonl"],
        corpus_sha256=digests[0],
        sha256=hashlib.sha256("".join(digests).encode()).hexdigest(),
    )


async def passage_lines(corpus: Path) -> AsyncIterator[bytes]:
    """The corpus as the retriever takes it in, in blocks of about 64 KiB of JSON lines."""
    block = bytearray()
    for row in _rows(corpus, needs=("id", "text")):
        passage = {"id": row["id"], "text": row["text"], "title": row.get("title") or ""}
        if row.get("doc_id"):
            passage["doc_id"] = row["doc_id"]
        block += json.dumps(passage).encode() + b"\n"
        if len(block) >= 2**16:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _take(source: Path, target: Path, limit: int) -> int:
    rows = list(islice(_rows(source, needs=("id", "question", "answer")), limit))
    if not rows:
        raise UserError(f"{source} is empty.")
    target.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return len(rows)


def _rows(path: Path, *, needs: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise UserError(f"{path}, line {number}: not JSON ({error.msg}).") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number}: a row is a JSON object.")
            _name(row)
            for field in needs:
                if not isinstance(row.get(field), str) or not row[field].strip():
                    raise UserError(f"{path}, line {number}: '{field}' is missing or empty.")
            yield row


def _name(row: dict[str, Any]) -> None:
    """Make the ids of ``row`` texts, as the services take them."""
    for field in ("id", "doc_id"):
        if isinstance(row.get(field), int):
            row[field] = str(row[field])
    if isinstance(evidence := row.get("evidence_ids"), list):
        row["evidence_ids"] = [str(key) for key in evidence]
