"""A mean paired difference with its resampled distribution: the evidence a verdict rests on."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.evaluator.statistics.bootstrap import interval, resampled_means
from services.evaluator.statistics.clusters import Clustered, Floats, by_cluster
from services.evaluator.statistics.permutation import least_p, sign_flip_p
from services.evaluator.statistics.rare import Flipped, flipped_in

ROUNDING = 1e-12
"""Of the largest a mean could be: what is less is the rounding of sums, 0.1 + 0.2 − 0.3."""


@dataclass(frozen=True)
class Resampling:
    """How often, and from which seed."""

    resamples: int
    permutations: int
    seed: int


@dataclass(frozen=True)
class Contrast:
    """Differences of ``n`` items in their clusters; ``bound`` is the largest a mean could be.

    ``identical`` means that not one item differs, not that the differences cancel; ``flips`` are
    those of yes-or-no answers. ``least_p`` is what p could be at best, whatever the differences.
    """

    data: Clustered
    means: Floats
    p: float
    bound: float
    identical: bool
    flips: Flipped | None = field(default=None, kw_only=True)
    least_p: float = field(default=0.0, kw_only=True)

    @property
    def estimate(self) -> float:
        return self.data.mean

    @property
    def standard_error(self) -> float:
        return self.data.standard_error

    @property
    def fixed_variance(self) -> float:
        """The part of its variance that more items do not lessen."""
        return 0.0

    def interval(self, level: float) -> tuple[float, float]:
        """Interval of confidence ``level``; the whole possible range from a single cluster."""
        if self.data.clusters < 2:
            return -self.bound, self.bound
        return interval(self.means, level=level, clusters=self.data.effective)

    def equivalence(self, alpha: float) -> tuple[float, float]:
        """What must lie within a margin for two one-sided tests at ``alpha``: the 1 − 2·alpha
        interval, of yes-or-no answers as wide as their exact limits, too. A bootstrap of one loss
        in 61 knows of no second one."""
        low, high = self.interval(1 - 2 * alpha)
        if self.flips is None:
            return low, high
        exact = self.flips.interval(1 - 2 * alpha)
        return min(low, exact[0]), max(high, exact[1])


def contrast(
    differences: Sequence[float], labels: Sequence[str], *, how: Resampling, bound: float = 1.0
) -> Contrast:
    """Weigh per-item ``differences`` (tuned minus base) whose clusters ``labels`` name."""
    values = rounded(differences, bound)
    data = by_cluster(values, labels)
    return Contrast(
        data=data,
        means=resampled_means(data, resamples=how.resamples, seed=how.seed),
        p=sign_flip_p(data, permutations=how.permutations, seed=how.seed),
        bound=bound,
        identical=not any(values),
        flips=flipped_in(values, data, bound),
        least_p=least_p(data.clusters, permutations=how.permutations),
    )


def rounded(differences: Sequence[float], bound: float) -> list[float]:
    """With 0 for what is only the rounding of two means of equal scores."""
    return [0.0 if abs(value) <= ROUNDING * bound else value for value in differences]


def mean_interval(
    values: Sequence[float], labels: Sequence[str], *, how: Resampling
) -> tuple[float, tuple[float, float]]:
    """Mean over items with its 95 % interval; the interval of one cluster spans its values."""
    data = by_cluster(values, labels)
    if data.clusters < 2:
        return data.mean, (min(values), max(values))
    means = resampled_means(data, resamples=how.resamples, seed=how.seed)
    return data.mean, interval(means, level=0.95, clusters=data.effective)
