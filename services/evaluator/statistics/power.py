"""How small an effect a run can find, and how many items would have settled it."""

import math
from collections.abc import Sequence

from scipy.special import ndtr, ndtri, stdtrit

from services.evaluator.statistics.rare import Flipped

# With fewer, not even all documents agreeing is significant at 5 %: 2 · 2^−5 > 0.05.
MIN_CLUSTERS = 6


def clusters_needed(alpha: float) -> int:
    """As many as could tell anything at ``alpha``: a sign-flip test gives 2 · 2^−G at best."""
    return max(MIN_CLUSTERS, math.ceil(1 - math.log2(alpha)))


def design_effect(sizes: Sequence[int], icc: float) -> float:
    """How much larger the variance of a mean over items is for their being clustered.

    1 + (Σm²/Σm − 1)·icc, with m items in a cluster: L. Kish, "Survey Sampling", 1965, with the
    weighted mean size where sizes differ (Eldridge, Ashby and Kerry, International Journal of
    Epidemiology 35(5), 2006).
    """
    n = sum(sizes)
    return 1 + (sum(size * size for size in sizes) / n - 1) * icc


def smallest_effect(
    sizes: Sequence[int],
    *,
    deviation: float,
    icc: float = 0.1,
    family: int = 1,
    alpha: float = 0.05,
    power: float = 0.8,
) -> float | None:
    """The smallest true mean difference that a run finds with probability ``power``.

    ``sizes`` are the items of each cluster, ``deviation`` the standard deviation of one item's
    paired difference (``scales`` has one to plan with), ``icc`` the correlation of differences
    within a cluster. (t₁₋α′⸝₂ + t_power)·deviation·√(design effect / items), with one degree
    of freedom less than there are effective clusters: H. Bloom, "Minimum Detectable Effects",
    Evaluation Review 19(5), 1995. α′ is ``alpha`` over the ``family`` of declared comparisons, the
    level of Holm's first step. None with fewer clusters than could tell anything at α′.
    """
    if not 0 <= icc <= 1 or deviation < 0 or family < 1 or any(size < 1 for size in sizes):
        raise ValueError("sizes and family are at least 1, deviation is not below 0, icc 0 to 1")
    if len(sizes) < clusters_needed(alpha / family):
        return None
    freedom = sum(sizes) ** 2 / sum(size * size for size in sizes) - 1
    told = stdtrit(freedom, 1 - alpha / family / 2) + stdtrit(freedom, power)
    error = deviation * math.sqrt(design_effect(sizes, icc) / sum(sizes))
    return float(told * error)


def items_needed(
    *,
    n: int,
    standard_error: float,
    diff: float,
    margin: float,
    alpha: float,
    power: float = 0.8,
    fixed_variance: float = 0.0,
    equivalence_alpha: float = 0.05,
    flips: Flipped | None = None,
) -> int | None:
    """Items that would settle a comparison with probability ``power``, were ``diff`` the truth.

    The fewer of two: what it takes to tell ``diff`` from 0 at two-sided ``alpha``, or, where
    ``diff`` lies inside ±``margin``, to place it there by two one-sided tests at
    ``equivalence_alpha``, of yes-or-no answers that flip as ``flips`` by exact ones. Normal
    approximation; ``standard_error`` is that of ``n`` items clustered as these are, and
    ``fixed_variance`` the part of its square that no item lessens, such as that between training
    seeds. None where no number would do, or an error cannot be told.
    """
    if standard_error <= 0:
        return None
    needed: list[float] = []
    if diff:
        told = ndtri(1 - alpha / 2) + ndtri(power)
        needed.append(_times(abs(diff) / told, standard_error, fixed_variance))
    if abs(diff) < margin:
        # Both tests must succeed: each is given half of what may go wrong.
        placed = ndtri(1 - equivalence_alpha) + ndtri(1 - (1 - power) / 2)
        times = _times((margin - abs(diff)) / placed, standard_error, fixed_variance)
        needed.append(max(times, _times_exact(flips, margin, placed)))
    if not needed or min(needed) > 1e9:
        return None
    return max(n + 1, math.ceil(n * min(needed)))


def _times(wanted: float, standard_error: float, fixed_variance: float) -> float:
    """How many times the items bring the standard error down to ``wanted``."""
    left = wanted**2 - fixed_variance
    return (standard_error**2 - fixed_variance) / left if left > 0 else math.inf


def _times_exact(flips: Flipped | None, margin: float, placed: float) -> float:
    """How many times the items bring exact limits inside the margin, ``placed`` normal deviations
    from what was seen; 1 at least."""
    factor = 1.0
    while flips is not None and factor < 1e6:
        low, high = flips.times(factor).interval(1 - 2 * ndtr(-placed))
        if -margin < low and high < margin:
            break
        factor *= 1.02
    return factor
