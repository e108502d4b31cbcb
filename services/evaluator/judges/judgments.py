"""From forms to a judgment, and from judgments to figures: pure, nothing guessed."""

from collections.abc import Sequence
from statistics import fmean, pstdev

from services.common.contracts.generator import Condition
from services.common.contracts.judge import JudgeFigure, Judgment
from services.evaluator.judges.criteria import Criterion


def judgment(scores: Sequence[int | None], criterion: Criterion, weight: float | None) -> Judgment:
    """Sum up the runs of one answer; None among ``scores`` is a form without a score."""
    read = [score for score in scores if score is not None]
    missing = len(scores) - len(read)
    return Judgment(
        runs=len(scores),
        scores=read,
        unparsable=missing,
        mean=fmean(read) if read else None,
        spread=pstdev(read) if read else None,
        low=(sum(read) + missing * criterion.lowest) / len(scores),
        high=(sum(read) + missing * criterion.highest) / len(scores),
        weighted=weight,
    )


def unjudged(runs: int, criterion: Criterion, error: str) -> Judgment:
    """What an answer is given that the judge did not judge: nothing, between worst and best."""
    return Judgment(
        runs=runs,
        scores=[],
        unparsable=runs,
        mean=None,
        spread=None,
        low=float(criterion.lowest),
        high=float(criterion.highest),
        error=error.replace("\x00", "\ufffd")[:500],
    )


def figure(
    judgments: Sequence[Judgment], *, arm: str, condition: Condition, metric: str
) -> JudgeFigure:
    """The judge's figures of one arm under one condition; ``judgments`` holds at least one."""
    scored = [one for one in judgments if one.mean is not None]
    weights = [one.weighted for one in judgments if one.weighted is not None]
    return JudgeFigure(
        arm=arm,
        condition=condition,
        metric=metric,
        n=len(scored),
        unscored=len(judgments) - len(scored),
        mean=fmean(one.mean for one in scored if one.mean is not None) if scored else None,
        spread=fmean(one.spread or 0.0 for one in scored) if scored else None,
        weighted=fmean(weights) if weights else None,
        low=fmean(one.low for one in judgments),
        high=fmean(one.high for one in judgments),
        unparsable=sum(one.unparsable for one in judgments) / sum(one.runs for one in judgments),
    )
