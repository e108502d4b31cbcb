"""A test set found again in training data, word for word or nearly.

The test side is held in memory, the training side may be a stream of any length (of its passages
half a million digests are held). Near matches are
proposed by MinHash (Broder 1997; ``datasketch``, banded for 0.5) over runs of five characters, and
decided by the Jaccard index itself.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from services.common.contracts.leakage import (
    Likeness,
    Lookalike,
    Matches,
    TrainingOverlap,
)
from services.common.text import comparable, is_long

NEAR = 0.7
_PROPOSED = 0.5  # so low that hardly a pair at NEAR is missed
_RUN = 5
_SHORTEST = 20  # characters below which being near means little
_EXAMPLES = 3  # of each sort
_REMEMBERED = 500_000  # training passages, beyond which one may be counted twice
_SHOWN = 160


@dataclass(frozen=True)
class Row:
    """A test item or a training row; ``passages`` from id (or any name) to text."""

    id: str
    question: str
    answer: str
    gold: frozenset[str] = frozenset()
    documents: frozenset[str] = frozenset()
    passages: Mapping[str, str] = field(default_factory=dict)


class Overlap:
    """``hold`` every test item, then ``meet`` every training row; ``found`` counts."""

    def __init__(self) -> None:
        self._questions = _Texts()
        self._passages = _Texts()
        self._answers: dict[str, str] = {}
        self._answer_of: dict[str, str] = {}
        self._gold: set[str] = set()
        self._documents: set[str] = set()
        self._items_met: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[Lookalike]] = {}
        self._passages_met: set[int] = set()

    def hold(self, item: Row) -> None:
        self._counts["items"] += 1
        self._questions.add(item.id, item.question)
        for name, text in item.passages.items():
            self._passages.add(name, text)
        answer = self._answer_of[item.id] = comparable(item.answer)
        if is_long(answer):
            self._answers.setdefault(answer, item.id)
        self._gold |= item.gold
        self._documents |= item.documents

    def meet(self, row: Row) -> None:
        self._counts["rows"] += 1
        self._counts["gold"] += not self._gold.isdisjoint(row.gold)
        self._counts["documents"] += not self._documents.isdisjoint(row.documents)
        if (met := self._questions.like(row.question)) is not None:
            self._counts[f"questions {met.likeness}"] += 1
            self._items_met.update(met.names)
            answers = {self._answer_of[name] for name in met.names}
            self._counts["repeated"] += comparable(row.answer) in answers
            self._show("question", met, row.id, row.question)
        if (test := self._answers.get(comparable(row.answer))) is not None:
            self._counts["answers"] += 1
            self._show("answer", _Met("same", 1.0, (test,)), row.id, row.answer)
        for text in row.passages.values():
            self._meet_passage(text, row.id)

    def _meet_passage(self, text: str, row: str) -> None:
        key = hash(text)
        if key in self._passages_met:  # many rows may bring the same one
            return
        if len(self._passages_met) < _REMEMBERED:
            self._passages_met.add(key)
        if (met := self._passages.like(text)) is not None:
            self._counts[f"passages {met.likeness}"] += 1
            self._show("passage", met, row, text)

    def _show(
        self, what: Literal["question", "answer", "passage"], met: "_Met", train: str, text: str
    ) -> None:
        examples = self._examples.setdefault(f"{what} {met.likeness}", [])
        if len(examples) < _EXAMPLES:
            examples.append(
                Lookalike(
                    what=what,
                    likeness=met.likeness,
                    similarity=round(met.similarity, 3),
                    train=train,
                    test=met.names[0],
                    text=text[:_SHOWN],
                )
            )

    def found(self) -> TrainingOverlap:
        def matches(what: str) -> Matches:
            return Matches(
                exact=self._counts[f"{what} exact"],
                same=self._counts[f"{what} same"],
                near=self._counts[f"{what} near"],
            )

        return TrainingOverlap(
            rows=self._counts["rows"],
            items=self._counts["items"],
            items_met=len(self._items_met),
            questions=matches("questions"),
            repeated=self._counts["repeated"],
            answers=self._counts["answers"],
            passages=matches("passages"),
            gold=self._counts["gold"],
            documents=self._counts["documents"],
            examples=[example for sort in self._examples.values() for example in sort],
        )


def sentences(overlap: TrainingOverlap) -> Iterator[str]:
    """What a person should know of it; nothing when there is nothing in common."""
    questions, passages = overlap.questions, overlap.passages
    if questions.total:
        yield (
            f"{overlap.items_met} of {overlap.items} test questions stand in {questions.total} of "
            f"{overlap.rows} training rows: {questions.exact} letter for letter, {questions.same} "
            f"but for case and punctuation, {questions.near} nearly. "
            + (
                f"{overlap.repeated} have the same answer: what is measured there is memory."
                if overlap.repeated
                else "None has the same answer: the form is known, the fact is not."
            )
        )
    if overlap.answers:
        yield f"{overlap.answers} training rows have the answer of a test item, of four words up."
    if overlap.gold:
        yield (
            f"{overlap.gold} of {overlap.rows} training rows have a gold passage of the test set."
        )
    if overlap.documents:
        yield (
            f"{overlap.documents} of {overlap.rows} training rows come from documents that are "
            "tested: clusters are not independent of the training."
        )
    if passages.total:
        yield (
            f"{passages.total} training passages stand in the test's gold passages, "
            f"{passages.near} of them nearly."
        )


@dataclass(frozen=True)
class _Met:
    likeness: Likeness
    similarity: float
    names: tuple[str, ...]


class _Texts:
    """Texts that can be asked whether one like another is there."""

    def __init__(self) -> None:
        self._exact: dict[str, list[str]] = {}
        self._same: dict[str, list[str]] = {}
        self._index: Any = None
        self._template: Any = None

    def add(self, name: str, text: str) -> None:
        plain = comparable(text)
        known = plain in self._same
        self._same.setdefault(plain, []).append(name)
        self._exact.setdefault(text.strip(), []).append(name)
        if not known and len(plain) >= _SHORTEST:
            self._lsh().insert(plain, self._minhash(_runs(plain)))

    def like(self, text: str) -> _Met | None:
        if names := self._exact.get(text.strip()):
            return _Met("exact", 1.0, tuple(names))
        plain = comparable(text)
        if names := self._same.get(plain):
            return _Met("same", 1.0, tuple(names))
        if len(plain) < _SHORTEST or self._index is None:
            return None
        runs = _runs(plain)
        proposed: list[str] = self._index.query(self._minhash(runs))
        likest = max(
            ((_jaccard(runs, _runs(other)), other) for other in proposed), default=(0.0, "")
        )
        if likest[0] < NEAR:
            return None
        return _Met("near", likest[0], tuple(self._same[likest[1]]))

    def _lsh(self) -> Any:
        if self._index is None:
            # At first use: it brings scipy.
            from datasketch import MinHash, MinHashLSH

            self._index = MinHashLSH(threshold=_PROPOSED, num_perm=128)
            self._template = MinHash(num_perm=128, hashfunc=zlib.crc32)
        return self._index

    def _minhash(self, runs: Iterable[str]) -> Any:
        minhash = self._template.copy()
        minhash.update_batch([run.encode() for run in runs])
        return minhash


def _runs(text: str) -> frozenset[str]:
    return frozenset(text[at : at + _RUN] for at in range(max(1, len(text) - _RUN + 1)))


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
