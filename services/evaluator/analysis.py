"""From scores to means and comparisons: pure, always the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import fmean, stdev

from services.common.contracts.evaluator import Comparison, ExperimentCreate, Mean
from services.common.contracts.generator import Condition
from services.common.contracts.statistics import SeedFigures
from services.evaluator.metrics import METRICS, Metric
from services.evaluator.metrics.judged import margin_of
from services.evaluator.scores import ScoreTable
from services.evaluator.statistics.binary import flips
from services.evaluator.statistics.missing import Bounds
from services.evaluator.statistics.multiplicity import Corrected, benjamini_hochberg, holm
from services.evaluator.statistics.paired import Contrast, mean_interval
from services.evaluator.statistics.seeds import SeedContrast
from services.evaluator.verdict import UNQUALIFIED, decide
from services.evaluator.weighing import bounds_of, resampling, weigh


@dataclass(frozen=True)
class _Pair:
    """One comparison before its family is known."""

    arm: str
    condition: Condition
    metric: Metric
    base: list[float]
    tuned: list[float]
    evidence: Contrast
    bounds: Bounds | None


def means(
    table: ScoreTable, spec: ExperimentCreate, metrics: Mapping[str, Metric] = METRICS
) -> list[Mean]:
    found: list[Mean] = []
    for arm, condition, metric in product(spec.arms, spec.conditions, metrics):
        scores = table.of(arm.name, condition, metric)
        if scores:
            mean, ci95 = mean_interval(
                list(scores.values()), table.labels(list(scores)), how=resampling(spec.statistics)
            )
            found.append(
                Mean(
                    arm=arm.name,
                    condition=condition,
                    metric=metric,
                    mean=mean,
                    ci95=ci95,
                    spread=table.spreads.get((arm.name, condition), {}).get(metric),
                )
            )
    return found


def comparisons(
    table: ScoreTable, spec: ExperimentCreate, metrics: Mapping[str, Metric] = METRICS
) -> list[Comparison]:
    """Every tuned arm against the baseline, under every condition, on every metric.

    Holm's family is arms × the conditions and metrics declared; the other metrics are explored, and
    corrected by Benjamini and Hochberg's rule among themselves.
    """
    pairs = list(_pairs(table, spec, metrics))
    declared = [spec.decides(pair.condition, pair.metric.name) for pair in pairs]
    corrected = _correct([pair.evidence.p for pair in pairs], declared, spec.statistics.alpha)
    return [
        _comparison(pair, primary, correction, spec)
        for pair, primary, correction in zip(pairs, declared, corrected, strict=True)
    ]


def _pairs(
    table: ScoreTable, spec: ExperimentCreate, metrics: Mapping[str, Metric]
) -> Iterator[_Pair]:
    tuned_arms = [arm.name for arm in spec.arms if arm.name != spec.baseline]
    ordered = _declared_first(spec, metrics)
    for arm, condition, metric in product(tuned_arms, spec.conditions, ordered):
        cells = (spec.baseline, condition), (arm, condition)
        asked = table.side_by_side(cells, metric.name, judged=metric.judged is not None)
        scored = {
            item: (before, after)
            for item, (before, after) in asked.items()
            if before is not None and after is not None
        }
        if not scored:
            continue
        trainings = table.each(arm, condition, metric.name, list(scored))
        if trainings:  # their items alone are compared, and shown
            scored = {
                item: (scored[item][0], fmean(scores[item] for scores in trainings))
                for item in trainings[0]
            }
        base, tuned = map(list, zip(*scored.values(), strict=True))
        yield _Pair(
            arm=arm,
            condition=condition,
            metric=metric,
            base=base,
            tuned=tuned,
            evidence=weigh(
                table,
                {item: after - before for item, (before, after) in scored.items()},
                [
                    {item: score - scored[item][0] for item, score in scores.items()}
                    for scores in trainings
                ],
                spec,
                bound=metric.range.width if metric.range else max(1.0, *base, *tuned),
            ),
            bounds=bounds_of(table, spec, metric, list(asked), plus=cells[1:], minus=cells[:1]),
        )


def _declared_first(spec: ExperimentCreate, metrics: Mapping[str, Metric]) -> list[Metric]:
    others = [metric for name, metric in metrics.items() if name not in spec.metrics]
    return [*(metrics[name] for name in spec.metrics), *others]


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
    margin = margin_of(pair.metric, statistics)
    decision = decide(
        evidence,
        corrected,
        margin=margin,
        alpha=statistics.alpha,
        higher_is_better=pair.metric.higher_is_better,
        bounds=pair.bounds,
    )
    if not pair.metric.trusted:
        decision = UNQUALIFIED
    notes = list(decision.notes)
    seeds = None
    if isinstance(evidence, SeedContrast):
        seeds = SeedFigures(diffs=list(evidence.by_seed), deviation=stdev(evidence.by_seed))
        notes.append(f"{evidence.seeds} training seeds, resampled with the documents")
    if pair.metric.binary and {*pair.base, *pair.tuned} <= {0.0, 1.0}:  # no means of repeats
        flipped = flips(pair.base, pair.tuned)
        notes.append(
            f"{flipped.gained} gained, {flipped.lost} lost, exact McNemar p = {flipped.p:.2g}"
        )
    return Comparison(
        arm=pair.arm,
        baseline=spec.baseline,
        condition=pair.condition,
        metric=pair.metric.name,
        base=fmean(pair.base),
        tuned=fmean(pair.tuned),
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
        seeds=seeds,
        unscored=pair.bounds.unscored if pair.bounds else 0,
        bounds=pair.bounds.of_mean if pair.bounds else None,
        margin=margin,
    )
