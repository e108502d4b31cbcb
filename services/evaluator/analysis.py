"""From scores to means, comparisons and differences in differences: pure, always the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from services.common.contracts.evaluator import (
    Comparison,
    DiffInDiff,
    ExperimentCreate,
    Mean,
    StatisticsAsk,
)
from services.common.contracts.generator import Condition
from services.evaluator.metrics import METRICS, Metric
from services.evaluator.statistics.binary import flips
from services.evaluator.statistics.multiplicity import Corrected, benjamini_hochberg, holm
from services.evaluator.statistics.paired import Contrast, Resampling, contrast, mean_interval
from services.evaluator.verdict import decide

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of all answers: by arm and condition, then item, then metric; null is unscored."""

    clusters: Mapping[str, str]
    cells: Mapping[tuple[str, Condition], Mapping[str, Scores]]

    def of(self, arm: str, condition: Condition, metric: str) -> dict[str, float]:
        """Item id to score, for the items that have one."""
        return {
            item: value
            for item, scores in self.cells.get((arm, condition), {}).items()
            if (value := scores.get(metric)) is not None
        }

    def labels(self, items: Sequence[str]) -> list[str]:
        return [self.clusters[item] for item in items]


@dataclass(frozen=True)
class _Pair:
    """One comparison before its family is known."""

    arm: str
    condition: Condition
    metric: Metric
    base: list[float]
    tuned: list[float]
    evidence: Contrast


def _resampling(statistics: StatisticsAsk) -> Resampling:
    return Resampling(
        resamples=statistics.resamples,
        permutations=statistics.permutations,
        seed=statistics.seed,
    )


def means(table: ScoreTable, spec: ExperimentCreate) -> list[Mean]:
    found: list[Mean] = []
    for arm, condition, metric in product(spec.arms, spec.conditions, METRICS):
        scores = table.of(arm.name, condition, metric)
        if scores:
            mean, ci95 = mean_interval(
                list(scores.values()), table.labels(list(scores)), how=_resampling(spec.statistics)
            )
            found.append(
                Mean(arm=arm.name, condition=condition, metric=metric, mean=mean, ci95=ci95)
            )
    return found


def comparisons(table: ScoreTable, spec: ExperimentCreate) -> list[Comparison]:
    """Every tuned arm against the baseline, under every condition, on every metric.

    Holm's family is arms × conditions × the metrics declared; the other metrics are explored, and
    corrected by Benjamini and Hochberg's rule among themselves.
    """
    pairs = list(_pairs(table, spec))
    declared = [pair.metric.name in spec.metrics for pair in pairs]
    corrected = _correct([pair.evidence.p for pair in pairs], declared, spec.statistics.alpha)
    return [
        _comparison(pair, primary, correction, spec)
        for pair, primary, correction in zip(pairs, declared, corrected, strict=True)
    ]


def _pairs(table: ScoreTable, spec: ExperimentCreate) -> Iterator[_Pair]:
    tuned_arms = [arm.name for arm in spec.arms if arm.name != spec.baseline]
    for arm, condition, metric in product(tuned_arms, spec.conditions, _declared_first(spec)):
        before = table.of(spec.baseline, condition, metric.name)
        after = table.of(arm, condition, metric.name)
        items = [item for item in before if item in after]
        if not items:
            continue
        base = [before[item] for item in items]
        tuned = [after[item] for item in items]
        yield _Pair(
            arm=arm,
            condition=condition,
            metric=metric,
            base=base,
            tuned=tuned,
            evidence=contrast(
                [b - a for a, b in zip(base, tuned, strict=True)],
                table.labels(items),
                how=_resampling(spec.statistics),
                bound=max(1.0, *base, *tuned),
            ),
        )


def _declared_first(spec: ExperimentCreate) -> list[Metric]:
    others = [metric for name, metric in METRICS.items() if name not in spec.metrics]
    return [*(METRICS[name] for name in spec.metrics), *others]


def _correct(p_values: Sequence[float], declared: Sequence[bool], alpha: float) -> list[Corrected]:
    family = iter(holm([p for p, yes in zip(p_values, declared, strict=True) if yes], alpha=alpha))
    explored = iter(
        benjamini_hochberg(
            [p for p, yes in zip(p_values, declared, strict=True) if not yes], alpha=alpha
        )
    )
    return [next(family) if yes else next(explored) for yes in declared]


def _comparison(
    pair: _Pair, primary: bool, corrected: Corrected, spec: ExperimentCreate
) -> Comparison:
    evidence, statistics = pair.evidence, spec.statistics
    decision = decide(
        evidence,
        corrected,
        margin=statistics.margin,
        alpha=statistics.alpha,
        higher_is_better=pair.metric.higher_is_better,
    )
    notes = list(decision.notes)
    if pair.metric.binary:
        flipped = flips(pair.base, pair.tuned)
        notes.append(
            f"{flipped.gained} gained, {flipped.lost} lost, exact McNemar p = {flipped.p:.2g}"
        )
    return Comparison(
        arm=pair.arm,
        baseline=spec.baseline,
        condition=pair.condition,
        metric=pair.metric.name,
        base=sum(pair.base) / len(pair.base),
        tuned=sum(pair.tuned) / len(pair.tuned),
        diff=evidence.estimate,
        ci95=evidence.interval(0.95),
        p=evidence.p,
        p_holm=corrected.p if primary else None,
        n=evidence.data.n,
        clusters=evidence.data.clusters,
        verdict=decision.verdict,
        primary=primary,
        note="; ".join(notes) or None,
        n_needed=decision.n_needed,
    )


def differences_in_differences(table: ScoreTable, spec: ExperimentCreate) -> list[DiffInDiff]:
    """What tuning does to the value of retrieval, on the declared metrics.

    A Holm family of its own, arms × metrics. HELPS means that retrieval is worth more to the tuned
    arm than to the baseline.
    """
    if not {"closed_book", "retrieved"} <= set(spec.conditions):
        return []
    tuned_arms = [arm.name for arm in spec.arms if arm.name != spec.baseline]
    found = [
        (arm, METRICS[metric], evidence)
        for arm, metric in product(tuned_arms, spec.metrics)
        if (evidence := _value_of_retrieval(table, spec, arm, metric)) is not None
    ]
    family = holm([evidence.p for _, _, evidence in found], alpha=spec.statistics.alpha)
    return [
        DiffInDiff(
            arm=arm,
            metric=metric.name,
            estimate=evidence.estimate,
            ci95=evidence.interval(0.95),
            p=evidence.p,
            p_holm=corrected.p,
            verdict=decide(
                evidence,
                corrected,
                margin=spec.statistics.margin,
                alpha=spec.statistics.alpha,
                higher_is_better=metric.higher_is_better,
            ).verdict,
        )
        for (arm, metric, evidence), corrected in zip(found, family, strict=True)
    ]


def _value_of_retrieval(
    table: ScoreTable, spec: ExperimentCreate, arm: str, metric: str
) -> Contrast | None:
    """Per item (tuned_retrieved − tuned_closed) − (base_retrieved − base_closed)."""
    tuned_with = table.of(arm, "retrieved", metric)
    tuned_without = table.of(arm, "closed_book", metric)
    base_with = table.of(spec.baseline, "retrieved", metric)
    base_without = table.of(spec.baseline, "closed_book", metric)
    items = [
        item
        for item in tuned_with
        if item in tuned_without and item in base_with and item in base_without
    ]
    if not items:
        return None
    return contrast(
        [
            (tuned_with[item] - tuned_without[item]) - (base_with[item] - base_without[item])
            for item in items
        ],
        table.labels(items),
        how=_resampling(spec.statistics),
        bound=2.0,
    )
