"""The rows behind a verdict: every arm's answer to a question, side by side and paged."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlencode

from services.common.contracts.evaluator import AnswerRow, ExperimentCreate
from services.common.contracts.generator import Condition
from services.evaluator.metrics import METRICS

PER_PAGE = 20

Outcome = Literal["all", "lost", "gained", "unscored"]


@dataclass(frozen=True)
class RowsAsk:
    """What the reader chose; ``arms`` empty means all of them."""

    condition: Condition
    arms: tuple[str, ...]
    outcome: Outcome
    metric: str
    page: int

    def query(self, **changes: object) -> str:
        chosen: dict[str, object] = {
            "condition": self.condition,
            "arm": list(self.arms),
            "outcome": self.outcome,
            "metric": self.metric,
            "page": self.page,
        }
        return urlencode(chosen | changes, doseq=True)


@dataclass(frozen=True)
class Scored:
    """A score (None: unscored) with its change from the baseline's on the same question.

    ``better`` is None where nothing changed or the metric has no better side.
    """

    metric: str
    score: float | None
    change: float | None
    better: bool | None


@dataclass(frozen=True)
class Given:
    """One arm's answer; ``scores`` begins with the metrics that decide."""

    row: AnswerRow
    baseline: bool
    scores: list[Scored]

    @property
    def name(self) -> str:
        """The arm, with what tells its answers to one question apart."""
        seed, repeat = self.row.training_seed, self.row.repeat
        return (
            f"{self.row.arm}{'' if seed is None else f', training seed {seed}'}"
            f"{f', repeat {repeat}' if repeat else ''}"
        )


@dataclass(frozen=True)
class ItemView:
    item_id: str
    cluster: str
    question: str
    reference: str
    answers: list[Given]


@dataclass(frozen=True)
class RowsView:
    """``found`` counts items that pass the filter; pages count from 1."""

    ask: RowsAsk
    items: list[ItemView]
    found: int
    pages: int
    first: int


async def rows_view(
    rows: AsyncIterator[AnswerRow], spec: ExperimentCreate, ask: RowsAsk
) -> RowsView:
    """One page of items; a page past the end is the last one.

    ``rows`` come item by item. They are counted as they pass and only the page is kept, so that
    the filter costs time on a large experiment but no memory.
    """
    shown = _shown_arms(spec, ask)
    kept: list[list[AnswerRow]] = []
    found = 0
    async for answers in _by_item(rows):
        if not _matches(answers, spec.baseline, shown, ask):
            continue
        if found % PER_PAGE == 0 and found < ask.page * PER_PAGE:
            kept = []
        if found < ask.page * PER_PAGE:
            kept.append(answers)
        found += 1
    pages = max(1, -(-found // PER_PAGE))
    page = min(ask.page, pages)
    return RowsView(
        ask=replace(ask, page=page),
        items=[_item(answers, spec, shown) for answers in kept],
        found=found,
        pages=pages,
        first=(page - 1) * PER_PAGE + 1 if found else 0,
    )


async def _by_item(rows: AsyncIterator[AnswerRow]) -> AsyncIterator[list[AnswerRow]]:
    together: list[AnswerRow] = []
    async for row in rows:
        if together and row.item_id != together[0].item_id:
            yield together
            together = []
        together.append(row)
    if together:
        yield together


def _shown_arms(spec: ExperimentCreate, ask: RowsAsk) -> list[str]:
    """The baseline first: every other answer is read against it."""
    names = [arm.name for arm in spec.arms]
    ordered = [spec.baseline, *(name for name in names if name != spec.baseline)]
    return [name for name in ordered if not ask.arms or name in ask.arms]


def _matches(
    answers: Sequence[AnswerRow], baseline: str, shown: Sequence[str], ask: RowsAsk
) -> bool:
    given = [row for row in answers if row.arm in shown]
    if ask.outcome == "all":
        return bool(given)
    if ask.outcome == "unscored":
        return any(row.scores.get(ask.metric) is None for row in given)
    wanted = ask.outcome == "gained"
    return any(
        scored.metric == ask.metric and scored.better is wanted
        for row in given
        for scored in _scores(row, _base_of(row, answers, baseline), ())
    )


def _base_of(row: AnswerRow, answers: Sequence[AnswerRow], baseline: str) -> AnswerRow | None:
    """The baseline's answer of the same repeat; of several trainings, that of the lowest seed."""
    return next((one for one in answers if (one.arm, one.repeat) == (baseline, row.repeat)), None)


def _change(score: float | None, base: float | None) -> float | None:
    return score - base if score is not None and base is not None else None


def _better(metric: str, change: float | None) -> bool | None:
    known = METRICS.get(metric)
    # Of what a judge scores, more is better.
    higher_is_better = True if known is None else known.higher_is_better
    if not change or higher_is_better is None:
        return None
    return (change > 0) is higher_is_better


def _item(answers: Sequence[AnswerRow], spec: ExperimentCreate, shown: Sequence[str]) -> ItemView:
    first = answers[0]
    return ItemView(
        item_id=first.item_id,
        cluster=first.cluster,
        question=first.question,
        reference=first.reference,
        answers=[
            Given(
                row,
                arm == spec.baseline,
                _scores(row, _base_of(row, answers, spec.baseline), spec.metrics),
            )
            for arm in shown
            for row in answers
            if row.arm == arm
        ],
    )


def _scores(row: AnswerRow, base: AnswerRow | None, deciding: Sequence[str]) -> list[Scored]:
    ordered = [*deciding, *(metric for metric in row.scores if metric not in deciding)]
    scored = []
    for metric in ordered:
        if metric not in row.scores:
            continue
        against = base.scores.get(metric) if base and base.arm != row.arm else None
        change = _change(row.scores[metric], against)
        scored.append(Scored(metric, row.scores[metric], change, _better(metric, change)))
    return scored
