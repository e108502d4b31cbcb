"""An experiment and its report as their page shows them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.common.contracts.evaluator import (
    Comparison,
    Experiment,
    Report,
    Verdict,
)
from services.evaluator.dashboard.plots import ForestPanel, forest
from services.evaluator.sizes import SizeTable, size_tables

UNFINISHED = frozenset({"queued", "in_progress"})
ORDER: tuple[Verdict, ...] = ("HURTS", "HELPS", "EQUIVALENT", "INCONCLUSIVE")


@dataclass(frozen=True)
class MetricRows:
    metric: str
    rows: list[Comparison]


@dataclass(frozen=True)
class ArmTable:
    """One arm against the baseline: what decides, then what was measured besides."""

    arm: str
    baseline: str
    decides: list[MetricRows]
    besides: list[MetricRows]
    tally: list[tuple[Verdict, int]]


@dataclass(frozen=True)
class ExperimentView:
    experiment: Experiment
    share: float | None
    live: bool
    report: Report | None
    forest: list[ForestPanel]
    tables: list[ArmTable]
    sizes: list[SizeTable]


def experiment_view(experiment: Experiment, report: Report | None) -> ExperimentView:
    """``share`` is the part of the current phase that is done, 0 to 1; None before it is known."""
    progress = experiment.progress
    decides = [c for c in report.comparisons if c.primary] if report else []
    return ExperimentView(
        experiment=experiment,
        share=min(1.0, progress.done / progress.total) if progress.total else None,
        live=experiment.status in UNFINISHED,
        report=report,
        forest=forest(decides, margin=report.spec.statistics.margin) if report else [],
        tables=arm_tables(report) if report else [],
        sizes=size_tables(report.sizes) if report else [],
    )


def arm_tables(report: Report) -> list[ArmTable]:
    tables = []
    for arm in report.arms:
        rows = [c for c in report.comparisons if c.arm == arm.name]
        if not rows:
            continue
        decides = [c for c in rows if c.primary]
        found = Counter(c.verdict for c in decides)
        tables.append(
            ArmTable(
                arm=arm.name,
                baseline=rows[0].baseline,
                decides=_by_metric(decides),
                besides=_by_metric([c for c in rows if not c.primary]),
                tally=[(verdict, found[verdict]) for verdict in ORDER if found[verdict]],
            )
        )
    return tables


def _by_metric(comparisons: Sequence[Comparison]) -> list[MetricRows]:
    metrics = dict.fromkeys(c.metric for c in comparisons)
    return [MetricRows(name, [c for c in comparisons if c.metric == name]) for name in metrics]
