"""The exact test of paired yes-or-no scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from statsmodels.stats.contingency_tables import mcnemar

from services.evaluator.statistics.clusters import Floats


@dataclass(frozen=True)
class Flips:
    """Items only one side got right, and McNemar's exact two-sided p of their split."""

    gained: int
    lost: int
    p: float


def flips(base: Sequence[float] | Floats, tuned: Sequence[float] | Floats) -> Flips:
    """Exact McNemar test of 0-or-1 scores; it knows no clusters, so it is a note, not a verdict."""
    before, after = np.asarray(base) > 0.5, np.asarray(tuned) > 0.5
    gained, lost = int((~before & after).sum()), int((before & ~after).sum())
    both, neither = int((before & after).sum()), int((~before & ~after).sum())
    result = mcnemar([[both, lost], [gained, neither]], exact=True)
    return Flips(gained=gained, lost=lost, p=min(float(result.pvalue), 1.0))
