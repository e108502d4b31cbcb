"""An exam made of a data set: answers whose order is known before a judge has seen them."""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from services.common.contracts.exam_figures import ExamKind
from services.evaluator.judges.exam.forms import (
    INJECTIONS,
    Wording,
    cut_short,
    framed,
    is_short,
    names_in,
    rephrased,
    swapped,
)
from services.evaluator.judges.exam.likeness import alike, bare
from services.evaluator.judges.exam.verbose import spun_out
from services.evaluator.metrics.text import content_words
from services.evaluator.schemas import ItemLine

VERSION = 3
"""Part of every exam's hash: the same data make another exam once the rules here change."""

LEVELS: dict[ExamKind, int] = {
    "reference": 2, "paraphrase": 2, "verbose": 2, "truncation": 1,
    "another": 0, "swapped": 0, "verbose_wrong": 0, "injected": 0,
}  # fmt: skip
"""The known order: right, less complete, wrong. What a person labelled has no place in it."""

_DRAWS = 24  # other questions that are looked at for a wrong answer


@dataclass(frozen=True, slots=True)
class ExamAnswer:
    """An answer to be graded. ``by_rule``: a paraphrase that is a frame round the reference, for
    want of another wording in the data. ``astray``: one of another question that is plainly beside
    the point of this. ``human_score`` is what a person gave it."""

    id: str
    item_id: str
    cluster: str
    kind: ExamKind
    question: str
    reference: str
    answer: str
    by_rule: bool = False
    astray: bool = False
    human_score: float | None = None

    @property
    def level(self) -> int | None:
        return LEVELS.get(self.kind)


@dataclass(frozen=True, slots=True)
class Paper:
    """An exam as it is put before a judge; ``sha256`` covers every word of it."""

    answers: tuple[ExamAnswer, ...]
    sha256: str


def build(
    items: Sequence[ItemLine],
    *,
    seed: int,
    max_items: int | None = None,
    wording: Wording = "exam",
) -> Paper:
    """Make up to eight answers to each of ``max_items`` questions, drawn by ``seed``.

    The same items, in any order, make the same paper; a larger ``max_items`` adds to it. Answers of
    a kind that an item does not allow (a number to swap, six words to cut) are left out.
    """
    ordered = sorted(items, key=lambda item: _rank(seed, item.id))
    names = {item.id: names_in(item.answer) for item in ordered}
    answers = tuple(
        answer
        for item in ordered[:max_items]
        for answer in _answers(item, ordered, names, seed=seed, wording=wording)
    )
    return Paper(answers=answers, sha256=_sha256(answers))


def document_of(item: ItemLine) -> str:
    """What an item clusters by: the document it names, else its first evidence, else itself."""
    return item.doc_id or (item.evidence_ids[0] if item.evidence_ids else item.id)


def _answers(
    item: ItemLine,
    others: Sequence[ItemLine],
    names: dict[str, list[str]],
    *,
    seed: int,
    wording: Wording,
) -> Iterator[ExamAnswer]:
    draw = random.Random(f"{seed}:{item.id}")  # noqa: S311 - an exam is no secret
    _, *others_right = accepted = _right_answers(item)
    rights = [bare(text) for text in accepted]
    make = partial(_make, item)
    yield make("reference", item.answer)
    text, in_data = rephrased(item.answer, [*item.aliases, *item.alt_answers], draw, wording)
    yield make("paraphrase", text, by_rule=not in_data)
    if cut := cut_short(item.answer, others_right):
        yield make("truncation", cut)
    strangers = _strangers(item, others, draw)
    errors = []
    wrong = [
        other
        for other in strangers
        if not any(_may_pass(text, rights) for text in _right_answers(other))
    ]
    if wrong:
        # Of about the same length: how long an answer is must not tell whether it is right.
        nearest = min(wrong, key=lambda other: abs(len(other.answer) - len(item.answer)))
        strangers.remove(nearest)
        errors.append(nearest.answer)
        said = _maybe_framed(nearest.answer, draw, wording)
        astray = _is_astray(nearest, item)
        yield make("another", said, astray=astray)
        demand = draw.choice(INJECTIONS[wording])
        yield make("injected", f"{said.rstrip(' .')}. {demand}", astray=astray)
    pool = [name for other in strangers for name in names[other.id]]
    if changed := swapped(item.answer, rights, pool, draw):
        errors.append(changed)
        yield make("swapped", _maybe_framed(changed, draw, wording))
    aside = [name for name in pool if not _may_pass(name, rights)]
    spin = partial(spun_out, question=item.question, names=aside, draw=draw, wording=wording)
    yield make("verbose", spin(item.answer))
    if errors:
        yield make("verbose_wrong", spin(draw.choice(errors)))
    if item.response is not None and item.human_score is not None:
        yield make("labelled", item.response, human_score=item.human_score)


def _right_answers(item: ItemLine) -> list[str]:
    return [item.answer, *item.alt_answers, *item.aliases, *item.exact_answer]


def _may_pass(text: str, rights: Sequence[str]) -> bool:
    said = bare(text)
    return any(alike(said, right) for right in rights)


def _is_astray(other: ItemLine, item: ItemLine) -> bool:
    """Whether the answer to ``other`` is sentences that have no word with ``item`` in common.

    A few words may reply to any question of their kind, wrongly: a yes, a number, a name.
    """
    if is_short(other.answer):
        return False
    asked = {*content_words(item.question), *content_words(item.answer)}
    return asked.isdisjoint(content_words(other.answer))


def _maybe_framed(answer: str, draw: random.Random, wording: Wording) -> str:
    """Half of the wrong answers stand in a frame, for frames must not tell what is right."""
    return framed(answer, draw, wording) if draw.random() < 0.5 else answer


def _strangers(item: ItemLine, others: Sequence[ItemLine], draw: random.Random) -> list[ItemLine]:
    drawn = draw.sample(others, min(_DRAWS, len(others)))
    mine = document_of(item)
    return [other for other in drawn if other.id != item.id and document_of(other) != mine]


def _make(
    item: ItemLine,
    kind: ExamKind,
    answer: str,
    *,
    by_rule: bool = False,
    astray: bool = False,
    human_score: float | None = None,
) -> ExamAnswer:
    return ExamAnswer(
        id=f"{item.id}:{kind}",
        item_id=item.id,
        cluster=document_of(item),
        kind=kind,
        question=item.question,
        reference=item.answer,
        answer=answer,
        by_rule=by_rule,
        astray=astray,
        human_score=human_score,
    )


def _rank(seed: int, item_id: str) -> str:
    return hashlib.sha256(f"{seed}:{item_id}".encode()).hexdigest()


def _sha256(answers: Sequence[ExamAnswer]) -> str:
    content = json.dumps([VERSION, [asdict(answer) for answer in answers]], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()
