"""What tuning does to the value of retrieval: the difference in differences."""

from collections.abc import Mapping
from itertools import product

from services.common.contracts.evaluator import DiffInDiff, ExperimentCreate
from services.evaluator.metrics import METRICS, Metric
from services.evaluator.metrics.judged import margin_of
from services.evaluator.scores import Cell, ScoreTable
from services.evaluator.statistics.missing import Bounds
from services.evaluator.statistics.multiplicity import Corrected, holm
from services.evaluator.statistics.paired import Contrast
from services.evaluator.verdict import decide
from services.evaluator.weighing import bounds_of, weigh


def differences_in_differences(
    table: ScoreTable, spec: ExperimentCreate, metrics: Mapping[str, Metric] = METRICS
) -> list[DiffInDiff]:
    """What tuning does to the value of retrieval, on the declared metrics.

    A Holm family of its own, arms × metrics. HELPS means that retrieval is worth more to the tuned
    arm than to the baseline.
    """
    if not {"closed_book", "retrieved"} <= set(spec.conditions):
        return []
    tuned_arms = [arm.name for arm in spec.arms if arm.name != spec.baseline]
    found = [
        (arm, metrics[metric], *value)
        for arm, metric in product(tuned_arms, spec.metrics)
        if (value := _value_of_retrieval(table, spec, arm, metrics[metric])) is not None
    ]
    family = holm([evidence.p for _, _, evidence, _ in found], alpha=spec.statistics.alpha)
    return [
        _difference_in_differences(arm, metric, evidence, bounds, corrected, spec)
        for (arm, metric, evidence, bounds), corrected in zip(found, family, strict=True)
    ]


def _difference_in_differences(
    arm: str,
    metric: Metric,
    evidence: Contrast,
    bounds: Bounds | None,
    corrected: Corrected,
    spec: ExperimentCreate,
) -> DiffInDiff:
    margin = margin_of(metric, spec.statistics)
    decision = decide(
        evidence,
        corrected,
        margin=margin,
        alpha=spec.statistics.alpha,
        higher_is_better=metric.higher_is_better,
        bounds=bounds,
    )
    return DiffInDiff(
        arm=arm,
        metric=metric.name,
        estimate=evidence.estimate,
        ci95=evidence.interval(0.95),
        p=evidence.p,
        p_holm=corrected.p,
        verdict=decision.verdict,
        note="; ".join(decision.notes) or None,
        n=evidence.data.n,
        clusters=evidence.data.clusters,
        n_needed=decision.n_needed,
        unscored=bounds.unscored if bounds else 0,
        bounds=bounds.of_mean if bounds else None,
        margin=margin,
    )


def _value_of_retrieval(
    table: ScoreTable, spec: ExperimentCreate, arm: str, metric: Metric
) -> tuple[Contrast, Bounds | None] | None:
    """Per item (tuned_retrieved − tuned_closed) − (base_retrieved − base_closed)."""
    tuned: list[Cell] = [(arm, "retrieved"), (arm, "closed_book")]
    base: list[Cell] = [(spec.baseline, "retrieved"), (spec.baseline, "closed_book")]
    asked = table.side_by_side([*tuned, *base], metric.name, judged=metric.judged is not None)
    scored = {
        item: [value for value in values if value is not None] for item, values in asked.items()
    }
    complete = {item: values for item, values in scored.items() if len(values) == 4}
    if not complete:
        return None
    worth = {item: v[2] - v[3] for item, v in complete.items()}  # of retrieval, to the baseline
    read, known = (table.each(*cell, metric.name, list(complete)) for cell in tuned)
    shared = [item for item in read[0] if item in known[0]] if read and known else []
    evidence = weigh(
        table,
        {item: (v[0] - v[1]) - worth[item] for item, v in complete.items()},
        [
            {item: (with_passages[item] - without[item]) - worth[item] for item in shared}
            for with_passages, without in zip(read, known, strict=False)
            if shared
        ],
        spec,
        bound=2.0 * (metric.range.width if metric.range else 1.0),
    )
    plus, minus = [tuned[0], base[1]], [tuned[1], base[0]]
    return evidence, bounds_of(table, spec, metric, list(asked), plus=plus, minus=minus)
