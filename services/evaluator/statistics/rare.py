"""Yes-or-no answers of which few change: where no resampling sees what did not happen to happen."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import betaincinv

from services.evaluator.statistics.clusters import Clustered


@dataclass(frozen=True)
class Flipped:
    """``lost`` and ``gained`` of ``n`` items, each by ``width``, the whole of its scale.

    Numbers are those that independent items would give as sure a share with: a document whose items
    all flip together is one (E. Korn and B. Graubard, "Confidence Intervals for Proportions with
    Small Expected Number of Positive Counts Estimated from Survey Data", Survey Methodology 24(2),
    1998).
    """

    lost: float
    gained: float
    n: float
    width: float

    def interval(self, level: float) -> tuple[float, float]:
        """Exact limits of the two shares, put together as those of their difference.

        C. Clopper and E. Pearson, Biometrika 26(4), 1934; G. Zou and A. Donner, "Construction of
        Confidence Limits about Effect Measures: A General Approach", Statistics in Medicine 27(10),
        2008. Where nothing is gained the lower limit is the exact one of what is lost.
        """
        tail = (1 - level) / 2
        lost, gained = self._limits(self.lost, tail), self._limits(self.gained, tail)
        shares = self.lost / self.n, self.gained / self.n
        diff = shares[1] - shares[0]
        low = diff - math.hypot(shares[1] - gained[0], lost[1] - shares[0])
        high = diff + math.hypot(gained[1] - shares[1], shares[0] - lost[0])
        return self.width * low, self.width * high

    def _limits(self, count: float, tail: float) -> tuple[float, float]:
        others = self.n - count
        return (
            float(betaincinv(count, others + 1, tail)) if count > 0 else 0.0,
            float(betaincinv(count + 1, others, 1 - tail)) if others > 0 else 1.0,
        )

    def times(self, factor: float) -> "Flipped":
        return Flipped(self.lost * factor, self.gained * factor, self.n * factor, self.width)


def flipped_in(differences: Sequence[float], data: Clustered, width: float) -> Flipped | None:
    """The flips among ``differences``; None where any is neither 0 nor as large as the scale."""
    lost = sum(value == -width for value in differences)
    gained = sum(value == width for value in differences)
    n = len(differences)
    if lost + gained + sum(not value for value in differences) < n:
        return None
    independent = (lost + gained) * width**2 / n - data.mean**2
    if data.clusters < 2 or independent <= 0:
        return Flipped(lost, gained, n, width)
    # How much larger the variance is than that of as many items on their own.
    clustered = data.standard_error**2 * (data.clusters - 1) / data.clusters
    effect = max(1.0, clustered * n / independent)
    return Flipped(lost / effect, gained / effect, n / effect, width)
