"""Scores of arms against others', item by item: weighed and judged by the evaluator's own rules."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fineproof.study.reading import Run
from fineproof.study.result import Weighed
from fineproof.study.scores import ArmScores
from services.common.contracts.evaluator import StatisticsAsk
from services.evaluator.statistics.missing import Bounds, bounds_of_sums
from services.evaluator.statistics.multiplicity import Corrected, holm
from services.evaluator.statistics.paired import Contrast, Resampling, contrast
from services.evaluator.statistics.scales import UNIT, Scale, scale_of
from services.evaluator.statistics.seeds import SeedContrast, over_seeds
from services.evaluator.verdict import decide

LOWER_IS_BETTER = frozenset({"refusal"})  # of the metrics that may be declared
_AVERAGED = "training seeds are averaged: this says nothing of other trainings"


@dataclass(frozen=True, eq=False)
class Side:
    """An arm of a run. Named twice among others, it counts twice and is missed once."""

    run: Run
    arm: str

    @property
    def cell(self) -> ArmScores:
        return self.run.answers.cells.get(self.arm, ArmScores({}))

    def training(self, number: int) -> ArmScores:
        """One of its trainings; an arm of a single one has no other."""
        return self.trainings[number] if len(self.trainings) > 1 else self.cell

    @property
    def trainings(self) -> Sequence[ArmScores]:
        return self.run.answers.trainings.get(self.arm, ())


@dataclass(frozen=True)
class Evidence:
    """``unscored`` counts the missing scores of the items that were left out for them."""

    metric: str
    contrast: Contrast
    bounds: Bounds | None
    unscored: int
    margin: float
    note: str | None = None


_Scores = Mapping[Side, Mapping[str, float | None]]


def weigh(
    metric: str, plus: Sequence[Side], minus: Sequence[Side], *, per: int = 1
) -> Evidence | None:
    """The scores of ``plus`` less those of ``minus``, as many, divided by ``per``: the mean over
    the items that have them all. None where no item has."""
    sides = list(dict.fromkeys((*plus, *minus)))
    run = sides[0].run
    scores: _Scores = {side: side.cell.of(metric) for side in sides}
    asked = _asked(sides, scores, graded=_scale_of_judge(run, metric) is not None)
    complete = _complete(asked, [scores])
    if not complete:
        return None
    scale, how = scale_on(run, metric), resampling(run.report.spec.statistics)
    width = scale.width * len(plus) / per

    def differences(scores: _Scores, items: Sequence[str]) -> list[float]:
        return [_difference(item, scores, plus, minus) / per for item in items]

    found: Contrast
    trainings = _trainings(sides, metric)
    shared = _complete(complete, trainings)
    if trainings and shared:
        found = over_seeds(
            [differences(each, shared) for each in trainings],
            _labels(run, shared),
            how=how,
            bound=width,
        )
    else:
        found = contrast(
            differences(scores, complete), _labels(run, complete), how=how, bound=width
        )
    unscored = sum(scores[side][item] is None for side in sides for item in asked)
    ends = bounds_of_sums(
        [_each(scores[side], asked, per) for side in minus],
        [_each(scores[side], asked, per) for side in plus],
        _labels(run, asked),
        low=scale.low / per,
        high=scale.high / per,
        how=how,
    )
    averaged = not isinstance(found, SeedContrast) and any(
        len(side.trainings) > 1 for side in sides
    )
    return Evidence(
        metric=metric,
        contrast=found,
        bounds=replace(ends, unscored=unscored) if ends is not None else None,
        unscored=unscored,
        margin=margin_on(run, metric),
        note=_AVERAGED if averaged else None,
    )


def judged(family: Sequence[Evidence], statistics: StatisticsAsk) -> list[Weighed]:
    """Verdicts, corrected for all of ``family`` (Holm)."""
    alpha = statistics.alpha
    corrected = holm([one.contrast.p for one in family], alpha=alpha) if family else []
    return [_judged(one, level, alpha) for one, level in zip(family, corrected, strict=True)]


def _judged(evidence: Evidence, corrected: Corrected, alpha: float) -> Weighed:
    found = evidence.contrast
    decision = decide(
        found,
        corrected,
        margin=evidence.margin,
        alpha=alpha,
        higher_is_better=evidence.metric not in LOWER_IS_BETTER,
        bounds=evidence.bounds,
    )
    notes = [*decision.notes, *([evidence.note] if evidence.note else [])]
    if isinstance(found, SeedContrast):
        notes.append(f"{found.seeds} training seeds, resampled with the documents")
    return Weighed(
        diff=found.estimate,
        ci95=found.interval(0.95),
        p=found.p,
        p_holm=corrected.p,
        verdict=decision.verdict,
        margin=evidence.margin,
        n=found.data.n,
        clusters=found.data.clusters,
        unscored=evidence.unscored,
        bounds=evidence.bounds.of_mean if evidence.bounds is not None else None,
        note="; ".join(notes) or None,
    )


def resampling(statistics: StatisticsAsk) -> Resampling:
    return Resampling(
        resamples=statistics.resamples,
        permutations=statistics.permutations,
        seed=statistics.seed,
    )


def scale_on(run: Run, metric: str) -> Scale:
    return _scale_of_judge(run, metric) or UNIT


def margin_on(run: Run, metric: str) -> float:
    """What counts as no difference, as the run's own comparisons have it."""
    told = (
        one.margin
        for one in run.report.comparisons
        if one.metric == metric and one.margin is not None
    )
    return next(told, run.report.spec.statistics.margin_of(metric))


def _scale_of_judge(run: Run, metric: str) -> Scale | None:
    """None for a metric that no judge scores."""
    judge = run.report.judge
    told = [one.scale for one in judge.criteria if one.name == metric] if judge else []
    return scale_of(*map(float, told[0])) if told else None


def _asked(sides: Sequence[Side], scores: _Scores, *, graded: bool) -> list[str]:
    """The items that all sides were asked and the metric is defined for: not those that no answer
    has a score for although all of them came. What a judge did not score is defined."""
    return [
        item
        for item in sides[0].cell.answers
        if all(item in scores[side] for side in sides)
        and (
            graded
            or any(scores[side][item] is not None for side in sides)
            or not all(side.cell.came(item) for side in sides)
        )
    ]


def _complete(items: Sequence[str], scores: Sequence[_Scores]) -> list[str]:
    return [
        item
        for item in items
        if all(of.get(item) is not None for each in scores for of in each.values())
    ]


def _difference(item: str, scores: _Scores, plus: Sequence[Side], minus: Sequence[Side]) -> float:
    # Summed exactly: sides that agree differ by 0, not by a rounding error.
    return math.fsum(
        sign * (scores[side][item] or 0.0)
        for sign, sides in ((1, plus), (-1, minus))
        for side in sides
    )


def _trainings(sides: Sequence[Side], metric: str) -> list[_Scores]:
    """The scores by training, where all arms of several have as many; paired by their seeds."""
    counts = {len(side.trainings) for side in sides if len(side.trainings) > 1}
    if len(counts) != 1:
        return []
    return [{side: side.training(number).of(metric) for side in sides} for number in range(*counts)]


def _each(scores: Mapping[str, float | None], items: Sequence[str], per: int) -> list[float | None]:
    return [None if (score := scores[item]) is None else score / per for item in items]


def _labels(run: Run, items: Sequence[str]) -> list[str]:
    return [run.answers.items[item].cluster for item in items]
