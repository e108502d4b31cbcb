"""The demo corpus: the handbook of an invented company, and questions no model can know."""

import json
import os
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from fineproof.demo.company import handbook
from fineproof.demo.document import AnswerType
from fineproof.demo.split import Candidate, passage_id, split


@dataclass(frozen=True)
class Passage:
    """A row of `corpus.jsonl`."""

    id: str
    title: str
    text: str
    doc_id: str


@dataclass(frozen=True)
class Question:
    """A row of `train.jsonl` or `test.jsonl`; `doc_id` is the cluster it is resampled with."""

    id: str
    question: str
    answer: str
    evidence_ids: tuple[str, ...]
    answer_type: AnswerType
    aliases: tuple[str, ...]
    doc_id: str


@dataclass(frozen=True)
class Corpus:
    """Passages and the questions about them; no document serves both train and test."""

    passages: tuple[Passage, ...]
    train: tuple[Question, ...]
    test: tuple[Question, ...]


def generate(seed: int = 2406) -> Corpus:
    """The corpus of this seed, the same to the byte on every machine."""
    rng = random.Random(seed)  # noqa: S311 - it invents a company and guards no secret
    documents = handbook(rng)
    train, test = split(documents, rng)
    return Corpus(
        passages=tuple(
            Passage(passage_id(document, index), section.title, section.text, document.id)
            for document in documents
            for index, section in enumerate(document.sections)
        ),
        train=_numbered("train", train),
        test=_numbered("test", test),
    )


def write(folder: Path, corpus: Corpus) -> None:
    """Writes `corpus.jsonl`, `train.jsonl` and `test.jsonl`; each appears whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_rows(folder / "corpus.jsonl", corpus.passages)
    _write_rows(folder / "train.jsonl", corpus.train)
    _write_rows(folder / "test.jsonl", corpus.test)


def _numbered(prefix: str, candidates: Sequence[Candidate]) -> tuple[Question, ...]:
    return tuple(
        Question(
            id=f"{prefix}-{count:03d}",
            question=candidate.ask.question,
            answer=candidate.ask.answer,
            evidence_ids=(candidate.passage_id,),
            answer_type=candidate.ask.answer_type,
            aliases=candidate.ask.aliases,
            doc_id=candidate.doc_id,
        )
        for count, candidate in enumerate(candidates, start=1)
    )


def _write_rows(path: Path, rows: Sequence[Passage] | Sequence[Question]) -> None:
    lines = "".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(lines)
        Path(draft).chmod(0o644)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
