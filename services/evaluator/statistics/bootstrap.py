"""The cluster bootstrap: whole documents are drawn, as they were when the data were made."""

import numpy as np
from scipy.special import ndtr, stdtrit

from services.evaluator.statistics.clusters import Clustered, Floats

_BLOCK = 2_000_000  # indices drawn at once: 8 MB, about a core's share of cache


def resampled_means(data: Clustered, *, resamples: int, seed: int) -> Floats:
    """Means over items of ``resamples`` draws of the clusters, with replacement; sorted.

    The draw depends on ``seed`` and the number of clusters only, so that contrasts on the same
    items are resampled alike.
    """
    generator = np.random.default_rng(seed)
    even = bool((data.sizes == data.sizes[0]).all())
    means = np.empty(resamples)
    rows = max(1, _BLOCK // data.clusters)
    for start in range(0, resamples, rows):
        stop = min(start + rows, resamples)
        drawn = generator.integers(0, data.clusters, (stop - start, data.clusters), dtype=np.int32)
        totals = data.sums[drawn].sum(axis=1)
        means[start:stop] = totals / (data.n if even else data.sizes[drawn].sum(axis=1))
    means.sort()
    return means


def interval(sorted_means: Floats, *, level: float, clusters: float) -> tuple[float, float]:
    """Expanded percentile interval of confidence ``level``, from means in ascending order.

    A percentile interval of G draws is too narrow by √((G−1)/G) and by the normal's tail instead
    of Student's; widening the percentiles undoes both. T. Hesterberg, "What Teachers Should Know
    About the Bootstrap", The American Statistician 69(4), 2015, section 5.3. Where clusters differ
    in size ``clusters`` is their effective number.
    """
    if clusters <= 1:
        raise ValueError("an interval needs at least two clusters")
    tail = (1 - level) / 2
    expanded = ndtr(np.sqrt(clusters / (clusters - 1)) * stdtrit(clusters - 1, tail))
    low, high = np.quantile(sorted_means, [expanded, 1 - expanded])
    return float(low), float(high)
