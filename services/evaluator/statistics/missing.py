"""Unscored answers: what a comparison could be, whatever they would have been given."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from services.evaluator.statistics.paired import Contrast, Resampling, contrast


@dataclass(frozen=True)
class Average:
    """A mean over the answers to one item, its repeats and trainings, ``unscored`` of ``asked``
    without a score; ``mean`` is None where none has one."""

    mean: float | None
    unscored: int
    asked: int

    def had(self, end: float) -> float:
        """The mean, had the unscored answers got ``end``."""
        if self.mean is None or not self.unscored:
            return end if self.mean is None else self.mean
        share = self.unscored / self.asked
        return (1 - share) * self.mean + share * end


Answered = float | Average | None  # one answer's score, or several answers' average


def _average(of: Answered) -> Average:
    return of if isinstance(of, Average) else Average(of, unscored=int(of is None), asked=1)


@dataclass(frozen=True)
class Bounds:
    """A comparison of all items, the ``unscored`` answers among them given the ends of the scale.

    ``lowest`` gives the tuned side's the worst score and the base's the best; ``highest`` the other
    way round. Nothing is assumed of why they are missing: C. Manski, "Nonparametric Bounds on
    Treatment Effects", American Economic Review 80(2), 1990; for the mean of a trial's outcome
    J. Horowitz and C. Manski, Journal of the American Statistical Association 95(449), 2000.
    """

    unscored: int
    low: Sequence[float]  # differences, item by item
    high: Sequence[float]
    labels: Sequence[str]
    how: Resampling
    width: float

    @property
    def of_mean(self) -> tuple[float, float]:
        """Between which the mean difference over all items must lie."""
        return fmean(self.low), fmean(self.high)

    # Resampled only when a verdict is at stake.
    @cached_property
    def lowest(self) -> Contrast:
        return contrast(self.low, self.labels, how=self.how, bound=self.width)

    @cached_property
    def highest(self) -> Contrast:
        return contrast(self.high, self.labels, how=self.how, bound=self.width)


def bounds(
    base: Sequence[Answered],
    tuned: Sequence[Answered],
    labels: Sequence[str],
    *,
    low: float,
    high: float,
    how: Resampling,
) -> Bounds | None:
    """Bounds of ``tuned`` minus ``base`` on a scale from ``low`` to ``high``, item by item; None is
    unscored, and of an average its unscored share is. None when every answer has its score.
    """
    return bounds_of_sums([base], [tuned], labels, low=low, high=high, how=how)


def bounds_of_sums(
    minus: Sequence[Sequence[Answered]],
    plus: Sequence[Sequence[Answered]],
    labels: Sequence[str],
    *,
    low: float,
    high: float,
    how: Resampling,
) -> Bounds | None:
    """The same of several scores of each item: all of ``plus`` less all of ``minus``."""
    lost = [[_average(of) for of in scores] for scores in minus]
    gained = [[_average(of) for of in scores] for scores in plus]
    unscored = sum(average.unscored for scores in (*lost, *gained) for average in scores)
    if not unscored:
        return None

    def differences(for_minus: float, for_plus: float) -> list[float]:
        return [
            sum(average.had(for_plus) for average in ups)
            - sum(average.had(for_minus) for average in downs)
            for downs, ups in zip(zip(*lost, strict=True), zip(*gained, strict=True), strict=True)
        ]

    return Bounds(
        unscored,
        low=differences(high, low),
        high=differences(low, high),
        labels=labels,
        how=how,
        width=(high - low) * len(plus),
    )
