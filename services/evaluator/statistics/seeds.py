"""Several training seeds: would the recipe do so again, or did this one training have luck?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtri, stdtrit

from services.evaluator.statistics.clusters import Clustered, Floats, by_cluster
from services.evaluator.statistics.paired import Contrast, Resampling, rounded
from services.evaluator.statistics.permutation import least_p, sign_flip_p

_BLOCK = 2_000_000  # numbers held at once


@dataclass(frozen=True)
class SeedContrast(Contrast):
    """A contrast whose unit is the recipe: ``by_seed`` are the mean differences of its seeds.

    ``data`` are the differences averaged over seeds. All seeds answer the same items, so that seeds
    and clusters cross: variance of the mean = seeds' + clusters' − their intersection's, and never
    less than the clusters' (C. Cameron, J. Gelbach, D. Miller, "Robust Inference with Multiway
    Clustering", Journal of Business & Economic Statistics 29(2), 2011).
    """

    by_seed: tuple[float, ...]
    seed_variance: float
    shared_variance: float

    @property
    def seeds(self) -> int:
        return len(self.by_seed)

    @property
    def standard_error(self) -> float:
        return float(np.sqrt(self.data.standard_error**2 + self.fixed_variance))

    @property
    def fixed_variance(self) -> float:
        """The part of the variance that more items do not lessen: the seeds' own."""
        return max(0.0, self.seed_variance - self.shared_variance)

    def critical(self, tail: float) -> float:
        """Standard errors beyond which ``tail`` lies on either side.

        Student's quantiles of seeds and of clusters, weighted by their variances: W. Cochran and
        G. Cox, "Experimental Designs", 1957, section 4.14. A few seeds say little of their own
        spread, and this errs on the wide side.
        """
        own, theirs = self.data.standard_error**2, self.seed_variance
        of_clusters = -float(stdtrit(self.data.effective - 1, tail))
        if not own + theirs:
            return of_clusters
        of_seeds = -float(stdtrit(self.seeds - 1, tail))
        return (own * of_clusters + theirs * of_seeds) / (own + theirs)

    def interval(self, level: float) -> tuple[float, float]:
        """The two-level bootstrap's interval, stretched to Cochran and Cox's width.

        A mean of three seeds cannot be resampled beyond the largest of them: percentiles alone
        would be too narrow, whatever the resamples.
        """
        if self.data.clusters < 2:
            return -self.bound, self.bound
        tail = (1 - level) / 2
        low, high = np.quantile(self.means, [tail, 1 - tail])
        spread = float(self.means.std())
        if not spread:
            return self.estimate, self.estimate
        stretch = self.critical(tail) * self.standard_error / (-float(ndtri(tail)) * spread)
        return (
            max(-self.bound, self.estimate + (float(low) - self.estimate) * stretch),
            min(self.bound, self.estimate + (float(high) - self.estimate) * stretch),
        )


def over_seeds(
    differences: Sequence[Sequence[float]],
    labels: Sequence[str],
    *,
    how: Resampling,
    bound: float = 1.0,
) -> SeedContrast:
    """Weigh the per-item ``differences`` (tuned minus base) of each seed, all of the same items.

    ``differences`` is of shape ``(seeds, items)``, two seeds at least, and ``labels`` name the
    items' clusters. Seeds are drawn with replacement and, independently, clusters are: the
    pigeonhole bootstrap (A. Owen, Annals of Applied Statistics 1(2), 2007). p is the larger of the
    sign-flip test's on the averages over seeds and that of Cochran and Cox's t.
    """
    if len(differences) < 2:
        raise ValueError("two training seeds are needed at least: one says nothing of the others")
    values = [rounded(row, bound) for row in differences]
    each = [by_cluster(row, labels) for row in values]
    sizes = each[0].sizes
    sums = np.stack([data.sums for data in each])
    data = Clustered(sums=sums.mean(axis=0), sizes=sizes)
    by_seed = sums.sum(axis=1) / data.n
    found = SeedContrast(
        data=data,
        means=_resampled(sums, sizes, resamples=how.resamples, seed=how.seed),
        p=sign_flip_p(data, permutations=how.permutations, seed=how.seed),
        bound=bound,
        identical=not any(map(any, values)),
        least_p=least_p(data.clusters, permutations=how.permutations),
        by_seed=tuple(float(mean) for mean in by_seed),
        seed_variance=float(by_seed.var(ddof=1)) / len(each),
        shared_variance=_intersection(sums, sizes),
    )
    return replace(found, p=max(found.p, _cochran_cox_p(found)))


def _resampled(sums: Floats, sizes: Floats, *, resamples: int, seed: int) -> Floats:
    """Means of draws of seeds × draws of clusters, sorted; ``sums`` of shape (seeds, clusters)."""
    generator = np.random.default_rng(seed)
    seeds, clusters = sums.shape
    means = np.empty(resamples)
    rows = max(1, _BLOCK // clusters)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        of_seeds = generator.multinomial(seeds, np.full(seeds, 1 / seeds), count) / seeds
        of_clusters = generator.multinomial(clusters, np.full(clusters, 1 / clusters), count)
        totals = ((of_seeds @ sums) * of_clusters).sum(axis=1)
        means[start : start + count] = totals / (of_clusters @ sizes)
    means.sort()
    return means


def _intersection(sums: Floats, sizes: Floats) -> float:
    """Variance of the mean that is of neither seeds nor clusters alone, from double residuals."""
    seeds, clusters = sums.shape
    if clusters < 2:
        return 0.0
    n = sizes.sum()
    by_seed = sums.sum(axis=1, keepdims=True) / n
    residuals = sums - sums.mean(axis=0) - (by_seed - by_seed.mean()) * sizes
    freedom = (1 - 1 / seeds) * (1 - 1 / clusters)
    return float((residuals**2).sum() / freedom) / float(seeds * n) ** 2


def _cochran_cox_p(found: SeedContrast) -> float:
    """The two-sided p at which ``critical`` is the observed number of standard errors."""
    if not found.estimate or found.data.clusters < 2:
        return 1.0
    observed = abs(found.estimate) / max(found.standard_error, 1e-300)
    least = 1e-12
    if found.critical(least / 2) <= observed:
        return least
    return float(brentq(lambda p: found.critical(p / 2) - observed, least, 1.0))
