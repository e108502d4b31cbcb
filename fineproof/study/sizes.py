"""Question 2: does the training size matter? The most pairs against the fewest."""

from collections.abc import Iterator, Sequence

from fineproof.study.reading import Run
from fineproof.study.result import SizeEffect, SizeTest
from fineproof.study.weighing import Evidence, Side, judged, weigh
from fineproof.study.wording import verdicts
from services.common.contracts.findings import SizeCurve, SizePoint
from services.common.contracts.generator import Condition


def size_effects(runs: Sequence[Run], condition: Condition) -> list[SizeEffect]:
    """A row for each curve of the reports; the tests of all of them are one Holm family."""
    curves = list(_curves(runs, condition))
    evidence = [_most_against_fewest(run, curve) for run, curve in curves]
    family = [one for one in evidence if one is not None]
    verdicts_of = iter(judged(family, runs[0].report.spec.statistics))
    return [
        SizeEffect(
            dataset=run.dataset,
            model=run.model,
            metric=curve.metric,
            recipe=curve.recipe,
            points=curve.points,
            test=None if one is None else _test(curve, next(verdicts_of).model_dump()),
        )
        for (run, curve), one in zip(curves, evidence, strict=True)
    ]


def _curves(runs: Sequence[Run], condition: Condition) -> Iterator[tuple[Run, SizeCurve]]:
    for run in runs:
        for curve in run.report.sizes:
            if curve.condition == condition and curve.metric in run.metrics:
                yield run, curve


def _tuned(curve: SizeCurve) -> list[SizePoint]:
    return sorted((point for point in curve.points if point.pairs), key=lambda point: point.pairs)


def _most_against_fewest(run: Run, curve: SizeCurve) -> Evidence | None:
    tuned = _tuned(curve)
    if len(tuned) < 2:
        return None
    return weigh(curve.metric, [Side(run, tuned[-1].arm)], [Side(run, tuned[0].arm)])


def _test(curve: SizeCurve, weighed: dict[str, object]) -> SizeTest:
    fewest, *_, most = _tuned(curve)
    return SizeTest.model_validate(
        {**weighed, "fewest": fewest.pairs, "most": most.pairs, "arms": (fewest.arm, most.arm)}
    )


def answer(effects: Sequence[SizeEffect]) -> str:
    tests = [one.test for one in effects if one.test is not None]
    if not effects:
        return "No run has arms that differ in their number of training pairs alone."
    if not tests:
        return "Every series of arms has one tuned size only, so sizes cannot be compared."
    return (
        f"The most training pairs against the fewest, {verdicts([test.verdict for test in tests])}."
    )
