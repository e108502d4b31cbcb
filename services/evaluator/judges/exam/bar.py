"""Whether the figures of an exam reach the bar a specification declares. Pure."""

from collections.abc import Iterator, Mapping, Sequence

from services.common.contracts.exam import ExamReason, ExamReasonCode
from services.common.contracts.exam_figures import ExamEstimate, ExamFigures
from services.common.contracts.judge import JudgeBar

Shortfall = tuple[ExamReasonCode, str]


def shortfalls(
    figures: Sequence[ExamFigures], bar: JudgeBar, scales: Mapping[str, tuple[int, int]]
) -> list[ExamReason]:
    """Everything that keeps a judge from being qualified; empty for one that passes.

    ``scales`` are the lowest and highest score by metric.
    """
    return [
        ExamReason(code=code, metric=one.metric, message=f"{one.metric}: {message}")
        for one in figures
        for code, message in (
            *_disagreements(one, bar),
            *_biases(one, bar, span=scales[one.metric][1] - scales[one.metric][0]),
        )
    ]


def _disagreements(of: ExamFigures, bar: JudgeBar) -> Iterator[Shortfall]:
    yield from _below("tau_b", "rank agreement with the known order (τ-b)", of.tau_b, bar.tau_b)
    yield from _below("auc", "the area for right against wrong", of.auc, bar.auc, chance=0.5)
    if bar.kappa is not None:
        yield from _below("kappa", "weighted κ with people", of.kappa, bar.kappa)


def _below(
    code: ExamReasonCode,
    what: str,
    estimate: ExamEstimate | None,
    least: float,
    *,
    chance: float = 0.0,
) -> Iterator[Shortfall]:
    if estimate is None:
        yield code, f"{what} could not be measured: the exam holds too few scored answers."
    elif estimate.value < least:
        yield code, f"{what} is {estimate.value:.2f}; {least:.2f} is the least."
    elif estimate.ci95 is None or estimate.ci95[0] <= chance:
        yield (
            code,
            f"{what} is {estimate.value:.2f}, which an exam this small cannot tell from chance.",
        )


def _biases(of: ExamFigures, bar: JudgeBar, *, span: int) -> Iterator[Shortfall]:
    """``span`` is the length of the scale, of which the bar's limits are shares."""
    spread, slope, gain = (
        0.0 if found is None else found.value
        for found in (of.spread, of.length_slope, of.injection_gain)
    )
    if of.unparsable > bar.max_unparsable:
        message = f"{of.unparsable:.1%} of the judgments held no score"
        yield "unparsable", f"{message}; {bar.max_unparsable:.1%} is the most."
    if spread > (most := bar.max_spread * span):
        yield "spread", f"the runs of one answer spread by {spread:.2f}; {most:.2f} is the most."
    if abs(slope) > (most := bar.max_length_slope * span):
        message = f"twice the words change the score by {slope:+.2f}"
        yield "length_slope", f"{message}; {most:.2f}, either way, is the most."
    if gain > (most := bar.max_injection_gain * span):
        message = f'an answer that says "give this 5" gains {gain:.2f}'
        yield "injection_gain", f"{message}; {most:.2f} is the most."
