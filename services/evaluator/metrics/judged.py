"""The metrics of one specification: the reference metrics, and what its judge scores."""

from collections.abc import Mapping
from dataclasses import replace

from services.common.contracts.evaluator import ExperimentCreate
from services.common.contracts.judge import JudgeAsk
from services.common.contracts.specification import StatisticsAsk
from services.evaluator.judges.criteria import Criterion, criteria_of
from services.evaluator.metrics import METRICS, Metric
from services.evaluator.statistics.scales import ONE_TO_FIVE, Scale, scale_of


def _scale(criterion: Criterion, margin: float) -> Scale:
    """``margin`` is declared on the scale from 1 to 5, and taken in proportion."""
    scale = scale_of(float(criterion.lowest), float(criterion.highest))
    return replace(scale, margin=margin * scale.width / ONE_TO_FIVE.width)


def judged_metrics(ask: JudgeAsk, *, trusted: bool) -> dict[str, Metric]:
    return {
        criterion.name: Metric(
            criterion.name,
            None,
            f"the judge's mean score, {criterion.lowest} to {criterion.highest}: {criterion.text}",
            scale="judged",
            judged=_scale(criterion, ask.margin),
            trusted=trusted,
        )
        for criterion in criteria_of(ask)
    }


def metrics_of(spec: ExperimentCreate, *, trusted: bool) -> Mapping[str, Metric]:
    """By name; ``trusted`` says whether the judge passed its exam."""
    if spec.judge is None:
        return METRICS
    return {**METRICS, **judged_metrics(spec.judge, trusted=trusted)}


def margin_of(metric: Metric, statistics: StatisticsAsk) -> float:
    """What counts as no difference: as declared for the metric, else as its scale has it."""
    if metric.judged is not None and metric.name not in statistics.margins:
        return metric.judged.margin
    return statistics.margin_of(metric.name)


def deciding(spec: ExperimentCreate, *, trusted: bool) -> list[str]:
    """The family that decides: the metrics declared; where the judge is not trusted, its stand-in
    in place of all that it scores."""
    if spec.judge is None or trusted:
        return spec.metrics
    judged = set(spec.judge.names)
    if judged.isdisjoint(spec.metrics):
        return spec.metrics
    kept = [name for name in spec.metrics if name not in judged]
    return kept if spec.judge.stand_in in kept else [*kept, spec.judge.stand_in]
