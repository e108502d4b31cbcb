"""Reciprocal rank fusion."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

Scored = tuple[int, float]

K = 60


def best_first(scores: Iterable[Scored]) -> list[Scored]:
    """Highest score first; the older passage (the smaller key) first among equals."""
    return sorted(scores, key=lambda scored: (-scored[1], scored[0]))


def fuse(
    rankings: Sequence[Sequence[int]], *, weights: Sequence[float] | None = None, k: int = K
) -> list[Scored]:
    """Merge rankings of keys, each best first, by the sum of ``weight / (k + rank)``, ranks from 1.

    Cormack, Clarke and Büttcher, SIGIR 2009, doi 10.1145/1571941.1572114; weights, equal by
    default, are ours. The sum is divided by the largest possible: 1.0 is first place in every
    ranking, and first in one of two equal ones, absent from the other, is 0.5.
    """
    weights = weights or [1.0] * len(rankings)
    sums: dict[int, float] = defaultdict(float)
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, key in enumerate(ranking, start=1):
            sums[key] += weight / sum(weights) * (k + 1) / (k + rank)
    return best_first(sums.items())


def best_of(lists: Sequence[Sequence[Scored]]) -> list[Scored]:
    """Merge scored lists on one scale: each key keeps its highest score."""
    best: dict[int, float] = {}
    for scored in lists:
        for key, score in scored:
            best[key] = max(score, best.get(key, score))
    return best_first(best.items())
