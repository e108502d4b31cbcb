"""Many comparisons: what one may believe of each when all were looked at."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import false_discovery_control


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
    # Not statsmodels' multipletests: it collects garbage at each call, half a second in a
    # simulation's loop. The tests hold this against it.
    raw = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(raw, kind="stable")
    steps = np.arange(len(raw), 0, -1)
    held_back = np.maximum.accumulate(raw[order] * steps)
    adjusted, factors = np.empty_like(raw), np.empty_like(raw)
    adjusted[order] = np.minimum(held_back, 1)
    factors[order] = np.maximum(steps, held_back / raw[order])
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
    adjusted = false_discovery_control(p_values, method="bh")
    rejected = int((adjusted <= alpha).sum())
    level = alpha * max(rejected, 1) / len(p_values)
    return [Corrected(p=float(p), alpha=level) for p in adjusted]
