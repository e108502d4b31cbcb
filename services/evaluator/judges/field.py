"""Whether a judge tells right from wrong among answers as they are.

The answers of an exam are made from references, and are about as long. A model may answer at length
and beside the point, and a judge that passed may be at a loss there. What it says is compared with
whether an answer holds the reference's words, which is no judgement, but is not the judge's either.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from services.common.contracts.exam_figures import ExamEstimate
from services.common.contracts.judge import FieldFigure, Judgment
from services.evaluator.statistics.agreement import roc_auc

METRIC, REFERENCE = "accuracy", "contains_answer"

# Right answers, and wrong ones, of which an area says something.
FEWEST = 10
_RESAMPLES, _SEED = 2_000, 0


class Told(Protocol):
    """An answer; ``judgments`` is None where no judge had its turn."""

    @property
    def item_id(self) -> str: ...
    @property
    def scores(self) -> Mapping[str, float | None]: ...
    @property
    def judgments(self) -> Mapping[str, Judgment] | None: ...


def field_figure(
    arm: str, answers: Sequence[Told], clusters: Mapping[str, str]
) -> FieldFigure | None:
    """Over an arm's answers under all conditions; ``clusters`` by item. None where too few hold
    the reference's words, or do not: long references are hardly ever said word for word."""
    right: list[bool] = []
    scored: list[float] = []
    documents: list[str] = []
    for answer in answers:
        judgment, held = (answer.judgments or {}).get(METRIC), answer.scores.get(REFERENCE)
        if judgment is None or judgment.mean is None or held is None:
            continue
        right.append(held == 1)
        scored.append(judgment.mean)
        documents.append(clusters[answer.item_id])
    if min(sum(right), len(right) - sum(right)) < FEWEST:
        return None
    area = roc_auc(right, scored, documents, resamples=_RESAMPLES, seed=_SEED)
    return FieldFigure(
        arm=arm,
        metric=METRIC,
        reference=REFERENCE,
        right=sum(right),
        wrong=len(right) - sum(right),
        auc=ExamEstimate.of(area.value, area.low, area.high),
    )


def field_warning(figure: FieldFigure, least: float) -> str | None:
    """Where an arm is known to be beyond the judge. ``least`` is what its bar asks of its exam."""
    highest = figure.auc.ci95[1] if figure.auc.ci95 is not None else figure.auc.value
    if highest >= least:
        return None
    return (
        f"Among the answers of {figure.arm}, the judge's {figure.metric} tells the {figure.right} "
        f"that hold the reference's words from the {figure.wrong} that do not with an AUC of "
        f"{figure.auc.value:.2f}; its exam asks for {least:.2f}. Answers unlike the exam's, "
        f"such as much longer ones, may be beyond it: read {figure.reference} beside it."
    )
