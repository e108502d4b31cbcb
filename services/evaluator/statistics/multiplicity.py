"""Many comparisons: what one may believe of each when all were looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.multitest import multipletests


@dataclass(frozen=True)
class Corrected:
    """A p-value corrected for its family, and the level (1 − confidence) of its interval."""

    p: float
    alpha: float


def holm(p_values: Sequence[float], *, alpha: float) -> list[Corrected]:
    """Holm's step-down correction (1979): the family-wise error rate is at most ``alpha``.

    ``alpha`` of a comparison is the level at which Holm tests it, alpha / (m − rank + 1), lower
    still where an earlier rank holds it back: its interval excludes 0 where Holm rejects.
    """
    if not p_values:
        return []
    _, adjusted, _, _ = multipletests(p_values, alpha=alpha, method="holm")
    raw = np.asarray(p_values)
    ranks = np.empty(len(raw), dtype=int)
    ranks[np.argsort(raw, kind="stable")] = np.arange(1, len(raw) + 1)
    factors = np.maximum(len(raw) - ranks + 1, adjusted / raw)
    return [
        Corrected(p=float(p), alpha=float(alpha / factor))
        for p, factor in zip(adjusted, factors, strict=True)
    ]


def benjamini_hochberg(p_values: Sequence[float], *, alpha: float) -> list[Corrected]:
    """Benjamini and Hochberg's correction (1995) for what is explored, not declared.

    Intervals at level R·alpha/m, with R rejections, keep the false coverage rate at ``alpha``
    (Benjamini and Yekutieli 2005).
    """
    if not p_values:
        return []
    rejected, adjusted, _, _ = multipletests(p_values, alpha=alpha, method="fdr_bh")
    level = alpha * max(int(rejected.sum()), 1) / len(p_values)
    return [Corrected(p=float(p), alpha=level) for p in adjusted]
