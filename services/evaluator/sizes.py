"""Does the number of training pairs matter? Means of arms that differ in nothing else, by size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from services.common.contracts.arms import ArmAsk
from services.common.contracts.evaluator import Mean
from services.common.contracts.findings import SizeCurve, SizePoint
from services.common.contracts.generator import Condition


def size_curves(
    arms: Sequence[ArmAsk],
    means: Sequence[Mean],
    conditions: Sequence[Condition],
    metrics: Sequence[str],
) -> list[SizeCurve]:
    """A curve for each series of at least two sizes, each condition and each of ``metrics``.

    The base model is every series' 0 pairs, whether an arm names it or is made of none. An arm
    made of a whole file says no number and belongs to no series.
    """
    of = {(mean.arm, mean.condition, mean.metric): mean for mean in means}
    curves: list[SizeCurve] = []
    for recipe, sizes in series(arms):
        for metric, condition in product(metrics, conditions):
            points = [
                SizePoint(pairs=pairs, arm=arm, mean=mean.mean, ci95=mean.ci95)
                for pairs, arm in sizes
                if (mean := of.get((arm, condition, metric))) is not None
            ]
            if len(points) > 1:
                curves.append(
                    SizeCurve(recipe=recipe, condition=condition, metric=metric, points=points)
                )
    return curves


def series(arms: Sequence[ArmAsk]) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Recipe, and ``(pairs, arm)`` by rising size, of arms alike in all but ``pairs``."""
    groups: dict[str, list[ArmAsk]] = {}
    for arm in arms:
        if arm.tune is not None and arm.tune.pairs:
            groups.setdefault(arm.tune.model_dump_json(exclude={"pairs"}), []).append(arm)
    for group in groups.values():
        assert group[0].tune is not None  # only such are grouped
        sizes: dict[int, str] = {}
        for arm in (*_bases(arms, group[0].tune.base_model), *group):
            sizes.setdefault(arm.tune.pairs or 0 if arm.tune is not None else 0, arm.name)
        if len(sizes) > 1:
            yield group[0].tune.recipe, sorted(sizes.items())


def _bases(arms: Sequence[ArmAsk], model: str) -> Iterator[ArmAsk]:
    for arm in arms:
        if arm.model == model or (
            arm.tune is not None and not arm.tune.trains and arm.tune.base_model == model
        ):
            yield arm


@dataclass(frozen=True)
class SizeTable:
    """One recipe's curves: each with a point or None for each of ``sizes``."""

    recipe: str
    sizes: list[int]
    rows: list[tuple[SizeCurve, list[SizePoint | None]]]


def size_tables(curves: Sequence[SizeCurve]) -> list[SizeTable]:
    tables: list[SizeTable] = []
    for recipe in dict.fromkeys(curve.recipe for curve in curves):
        mine = [curve for curve in curves if curve.recipe == recipe]
        sizes = sorted({point.pairs for curve in mine for point in curve.points})
        rows: list[tuple[SizeCurve, list[SizePoint | None]]] = []
        for curve in mine:
            of = {point.pairs: point for point in curve.points}
            rows.append((curve, [of.get(size) for size in sizes]))
        tables.append(SizeTable(recipe, sizes, rows))
    return tables
