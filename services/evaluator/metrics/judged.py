"""The metrics of one specification: the reference metrics, and what its judge scores."""

from collections.abc import Collection, Mapping
from dataclasses import replace

from services.common.contracts.evaluator import ExperimentCreate
from services.common.contracts.judge import JudgeAsk, ReportJudge
from services.common.contracts.specification import StatisticsAsk
from services.evaluator.judges.criteria import Criterion, criteria_of
from services.evaluator.metrics import METRICS, Metric
from services.evaluator.statistics.scales import ONE_TO_FIVE, Scale, scale_of


def _scale(criterion: Criterion, margin: float) -> Scale:
    """``margin`` is declared on the scale from 1 to 5, and taken in proportion."""
    scale = scale_of(float(criterion.lowest), float(criterion.highest))
    return replace(scale, margin=margin * scale.width / ONE_TO_FIVE.width)


def judged_metrics(ask: JudgeAsk, *, distrusted: Collection[str]) -> dict[str, Metric]:
    return {
        criterion.name: Metric(
            criterion.name,
            None,
            f"the judge's mean score, {criterion.lowest} to {criterion.highest}: {criterion.text}",
            scale="judged",
            judged=_scale(criterion, ask.margin),
            trusted=criterion.name not in distrusted,
        )
        for criterion in criteria_of(ask)
    }


def metrics_of(spec: ExperimentCreate, *, distrusted: Collection[str] = ()) -> Mapping[str, Metric]:
    """By name; the judge did not pass its exam by those that are ``distrusted``."""
    if spec.judge is None:
        return METRICS
    return {**METRICS, **judged_metrics(spec.judge, distrusted=distrusted)}


def distrusted_of(spec: ExperimentCreate, judge: ReportJudge | None) -> frozenset[str]:
    """The metrics by which the judge did not pass; all of its where it was not met, or by none."""
    if spec.judge is None:
        return frozenset()
    if judge is None or not judge.decides:
        return frozenset(spec.judge.names)
    return frozenset(judge.qualification.failed)


def margin_of(metric: Metric, statistics: StatisticsAsk) -> float:
    """What counts as no difference: as declared for the metric, else as its scale has it."""
    if metric.judged is not None and metric.name not in statistics.margins:
        return metric.judged.margin
    return statistics.margin_of(metric.name)


def deciding(spec: ExperimentCreate, *, distrusted: Collection[str]) -> list[str]:
    """The family that decides: the metrics declared; the judge's stand-in in place of those that
    are ``distrusted``."""
    kept = [name for name in spec.metrics if name not in distrusted]
    if spec.judge is None or len(kept) == len(spec.metrics):
        return spec.metrics
    return kept if spec.judge.stand_in in kept else [*kept, spec.judge.stand_in]
