"""Items cluster in documents: what every resampling here works on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Clustered:
    """Values summed within clusters. All arrays are of shape ``(clusters,)``."""

    sums: Floats
    sizes: Floats

    @property
    def n(self) -> int:
        """Items, over all clusters."""
        return int(self.sizes.sum())

    @property
    def clusters(self) -> int:
        return len(self.sums)

    @property
    def effective(self) -> float:
        """As many clusters of one size as tell as much: (Σm)² / Σm², with m items in a cluster.

        A mean over items leans on its big clusters, and knows its own error from fewer than it
        counts (A. Carter, K. Schnepel, D. Steigerwald, "Asymptotic Behavior of a t-Test Robust to
        Cluster Heterogeneity", Review of Economics and Statistics 99(4), 2017; here for items that
        are independent within clusters).
        """
        return float(self.sizes.sum() ** 2 / (self.sizes**2).sum())

    @property
    def mean(self) -> float:
        """Mean over items: a big cluster weighs more than a small one."""
        return float(self.sums.sum() / self.sizes.sum())

    @property
    def standard_error(self) -> float:
        """Cluster-robust standard error of the mean over items (Liang and Zeger 1986).

        With the finite-sample factor G / (G − 1); 0 when there is one cluster.
        """
        if self.clusters < 2:
            return 0.0
        residuals = self.sums - self.mean * self.sizes
        factor = self.clusters / (self.clusters - 1)
        return float(np.sqrt(factor * (residuals**2).sum()) / self.n)


def by_cluster(values: Sequence[float] | Floats, labels: Sequence[str]) -> Clustered:
    """Sum ``values`` within the clusters that ``labels`` name; both of shape ``(items,)``."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (len(labels),) or not len(labels):
        raise ValueError("one label is needed for each value, and at least one value")
    if not np.isfinite(array).all():
        raise ValueError("values must be finite: leave out what is unscored")
    _, codes = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)
    return Clustered(
        sums=np.bincount(codes, weights=array).astype(np.float64),
        sizes=np.bincount(codes).astype(np.float64),
    )
