"""The part of a folder of data that an experiment uses."""

import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from fineproof.data.documents import document_of
from fineproof.data.reading import (
    CORPUS,
    PAIR,
    PASSAGE,
    TEST,
    TRAIN,
    dumped,
    need_folder,
    rows,
    sha256_of,
)
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


def prepare(folder: Path, *, pairs: int | None, items: int | None, into: Path) -> Dataset:
    """Check ``folder`` and write the rows that will be used to ``into``.

    Takes the first ``pairs`` rows of ``train.jsonl`` and the first ``items`` of ``test.jsonl``, or
    all there are (None: all). Raises :class:`UserError` naming the file and line of the first bad
    row.
    """
    need_folder(folder)
    into.mkdir(parents=True, exist_ok=True)
    corpus = folder / CORPUS
    passages = sum(1 for _ in rows(corpus, PASSAGE))
    counts = {
        name: take(folder / name, into / name, limit)
        for name, limit in ((TRAIN, pairs), (TEST, items))
    }
    corpus_sha256 = sha256_of(corpus)
    return Dataset(
        name=folder.resolve().name,
        corpus=corpus,
        train=into / TRAIN,
        test=into / TEST,
        passages=passages,
        pairs=counts[TRAIN],
        items=counts[TEST],
        corpus_sha256=corpus_sha256,
        sha256=_sha256(corpus_sha256, into / TRAIN, into / TEST),
    )


def with_test(dataset: Dataset, test: Path, items: int) -> Dataset:
    """The same data with ``test``, of ``items`` rows, for its questions."""
    sha256 = _sha256(dataset.corpus_sha256, dataset.train, test)
    return replace(dataset, test=test, items=items, sha256=sha256)


async def passage_lines(corpus: Path) -> AsyncIterator[bytes]:
    """The corpus as the retriever takes it in, in blocks of about 64 KiB of JSON lines."""
    block = bytearray()
    for row in rows(corpus, PASSAGE):
        passage = {
            "id": row["id"],
            "doc_id": document_of(row),
            "title": row.get("title") or "",
            "text": row["text"],
        }
        block += json.dumps(passage).encode() + b"\n"
        if len(block) >= 2**16:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)


def take(source: Path, target: Path, limit: int | None) -> int:
    """Write the first ``limit`` pairs of ``source`` to ``target``, or all; how many there were."""
    taken = list(islice(rows(source, PAIR), limit))
    if not taken:
        raise UserError(f"{source} is empty.")
    target.write_text("".join(map(dumped, taken)))
    return len(taken)


def _sha256(corpus_sha256: str, train: Path, test: Path) -> str:
    digests = (corpus_sha256, sha256_of(train), sha256_of(test))
    return hashlib.sha256("".join(digests).encode()).hexdigest()
