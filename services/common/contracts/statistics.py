"""The evaluator's wire of what several trainings of one arm have in common, and what not."""

from services.common.contracts.base import Wire


class SeedFigures(Wire):
    """An arm of several training seeds, in ascending order: ``diffs`` are the mean differences of
    each, ``deviation`` their standard deviation. Intervals and p are the recipe's."""

    diffs: list[float]
    deviation: float
