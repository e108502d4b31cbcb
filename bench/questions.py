"""Questions of a folder of data, and the passages each may be answered from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

from fineproof.data.reading import CORPUS, PASSAGE, rows
from fineproof.errors import UserError

Scope = Literal["auto", "corpus", "document"]


@dataclass(frozen=True)
class Passage:
    """``text`` is what is searched: the title, if there is one, and the text."""

    id: str
    doc_id: str
    text: str


@dataclass(frozen=True)
class Question:
    """``gold`` are ids of the passages that hold the answer, at least one."""

    text: str
    gold: Sequence[str]
    doc_id: str | None


@dataclass(frozen=True)
class Questions:
    """``within``: each is asked of its own document only. ``without_gold`` were left out."""

    name: str
    corpus: Path
    passages: Sequence[Passage]
    asked: Sequence[Question]
    within: bool
    without_gold: int

    def groups(self) -> Iterator[tuple[list[int], list[int]]]:
        """Places of questions, and places of the passages that they are asked of."""
        if not self.within:
            yield list(range(len(self.asked))), list(range(len(self.passages)))
            return
        members: dict[str, list[int]] = {}
        for place, passage in enumerate(self.passages):
            members.setdefault(passage.doc_id, []).append(place)
        asking: dict[str, list[int]] = {}
        for place, question in enumerate(self.asked):
            asking.setdefault(question.doc_id or "", []).append(place)
        for document, places in asking.items():
            yield places, members.get(document, [])

    def documents(self) -> list[str]:
        """The document of each question, by which intervals are resampled."""
        of = {passage.id: passage.doc_id for passage in self.passages}
        return [
            question.doc_id or of.get(question.gold[0], question.gold[0]) for question in self.asked
        ]


def read(folder: Path, split: str, *, limit: int | None, scope: Scope) -> Questions:
    """The first ``limit`` questions (None: all) of ``folder``'s ``<split>.jsonl`` with gold.

    ``auto`` asks within documents where every question names one that has all of its gold. Raises
    :class:`UserError` for a folder that cannot be used.
    """
    corpus, source = folder / CORPUS, folder / f"{split}.jsonl"
    for path in (corpus, source):
        if not path.is_file():
            raise UserError(f"{folder} has no {path.name}.")
    passages = [
        Passage(
            row["id"],
            row.get("doc_id") or row["id"],
            f"{row.get('title') or ''}\n{row['text']}".strip(),
        )
        for row in rows(corpus, PASSAGE)
    ]
    asked, without_gold = [], 0
    for row in islice(rows(source, ("id", "question")), limit):
        if gold := list(dict.fromkeys(row.get("evidence_ids") or [])):
            asked.append(Question(row["question"], gold, row.get("doc_id") or None))
        else:
            without_gold += 1
    if not asked:
        raise UserError(f"No question of {source} names its gold passages in 'evidence_ids'.")
    within = scope == "document" or (scope == "auto" and _within(asked, passages))
    if within and (lost := sum(question.doc_id is None for question in asked)):
        raise UserError(f"{lost} questions of {source} name no 'doc_id' to be asked within.")
    return Questions(folder.resolve().name, corpus, passages, asked, within, without_gold)


def _within(asked: Sequence[Question], passages: Sequence[Passage]) -> bool:
    of = {passage.id: passage.doc_id for passage in passages}
    return all(
        question.doc_id is not None
        and all(of.get(gold, question.doc_id) == question.doc_id for gold in question.gold)
        for question in asked
    )
