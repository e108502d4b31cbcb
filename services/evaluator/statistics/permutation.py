"""The sign-flip test: were there no effect, base and tuned could change places."""

import numpy as np

from services.evaluator.statistics.clusters import Clustered

_BLOCK = 4_000_000  # signs drawn at once
_EXACT_UP_TO = 14  # clusters; 16,384 sign patterns


def sign_flip_p(data: Clustered, *, permutations: int, seed: int) -> float:
    """Two-sided p of a mean paired difference, the signs of whole clusters flipped together.

    All 2^G patterns when there are few clusters; else (b + 1) / (m + 1) of ``permutations`` random
    ones (Phipson and Smyth 2010), which can never be 0.
    """
    sums, total = data.sums, data.sums.sum()
    # Sums of the same numbers in another order differ in the last bits and must count as equal.
    observed = abs(total) - 1e-9 * max(np.abs(sums).sum(), 1e-300)
    if data.clusters <= _EXACT_UP_TO:
        patterns = np.arange(2**data.clusters)[:, None] >> np.arange(data.clusters) & 1
        return float((np.abs(total - 2 * (patterns @ sums)) >= observed).mean())
    generator = np.random.default_rng(seed)
    as_large = 0
    rows = max(1, _BLOCK // data.clusters)
    for start in range(0, permutations, rows):
        count = min(rows, permutations - start)
        drawn = generator.bytes((count * data.clusters + 7) // 8)
        bits = np.unpackbits(np.frombuffer(drawn, dtype=np.uint8), count=count * data.clusters)
        flipped = bits.reshape(count, data.clusters) @ sums
        as_large += int((np.abs(total - 2 * flipped) >= observed).sum())
    return (as_large + 1) / (permutations + 1)


def least_p(clusters: int, *, permutations: int) -> float:
    """The smallest p that so many clusters and permutations could give, whatever the data."""
    if clusters <= _EXACT_UP_TO:
        return min(1.0, 2.0 ** (1 - clusters))
    return 1 / (permutations + 1)
