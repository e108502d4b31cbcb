"""How many items would have settled it."""

import math

from scipy.stats import norm


def items_needed(
    *, n: int, standard_error: float, diff: float, margin: float, alpha: float, power: float = 0.8
) -> int | None:
    """Items that would settle a comparison with probability ``power``, were ``diff`` the truth.

    The fewer of two: what it takes to tell ``diff`` from 0 at two-sided ``alpha``, or, where
    ``diff`` lies inside ±``margin``, to place it there by two one-sided tests at 5 %. Normal
    approximation; ``standard_error`` is that of ``n`` items clustered as these are. None where no
    number would do: a difference of 0 at a margin of 0, or an error that cannot be told.
    """
    if standard_error <= 0:
        return None
    needed: list[float] = []
    if diff:
        told = norm.ppf(1 - alpha / 2) + norm.ppf(power)
        needed.append((told * standard_error / diff) ** 2)
    if abs(diff) < margin:
        # Both tests must succeed: each is given half of what may go wrong.
        placed = norm.ppf(0.95) + norm.ppf(1 - (1 - power) / 2)
        needed.append((placed * standard_error / (margin - abs(diff))) ** 2)
    if not needed or min(needed) > 1e9:
        return None
    return max(n + 1, math.ceil(n * min(needed)))
