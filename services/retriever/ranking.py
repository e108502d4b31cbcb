"""Reciprocal rank fusion."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

Scored = tuple[int, float]

# The paper's 60 nearly evens out the first places: two middling ranks beat one first. What 2 does
# on training questions of three data sets: docs/performance.md, "Search".
K = 2


def best_first(scores: Iterable[Scored]) -> list[Scored]:
    """Highest score first; the older passage (the smaller key) first among equals."""
    return sorted(scores, key=lambda scored: (-scored[1], scored[0]))


def fuse(
    rankings: Sequence[Sequence[Scored]], weights: Sequence[float], *, k: int = K
) -> list[Scored]:
    """Merge rankings, each best first, by the sum of ``weight / (k + rank) × score / best score``.

    Ranks count from 1: Cormack, Clarke and Büttcher, SIGIR 2009, doi 10.1145/1571941.1572114. The
    share of the best score is ours: where two places are next to each other it tells whether their
    scores are, too. A ranking whose scores are all 0 counts by its places.

    The sum is divided by the largest possible: 1.0 is first place in every ranking, and first in
    one of two of equal weight, absent from the other, is 0.5. A ranking of weight 0 adds nobody.
    """
    sums: dict[int, float] = defaultdict(float)
    for ranking, weight in zip(rankings, weights, strict=True):
        for rank, (key, score) in enumerate(ranking if weight else (), start=1):
            sums[key] += weight * ((k + 1) / (k + rank)) * of_best(score, ranking)
    return best_first((key, total / sum(weights)) for key, total in sums.items())


def of_best(score: float, ranking: Sequence[Scored]) -> float:
    """``score`` as a share of the ranking's best; 1 where that is 0."""
    best = ranking[0][1]
    return score / best if best else 1.0


def best_of(lists: Sequence[Sequence[Scored]]) -> list[Scored]:
    """Merge scored lists on one scale: each key keeps its highest score."""
    best: dict[int, float] = {}
    for scored in lists:
        for key, score in scored:
            best[key] = max(score, best.get(key, score))
    return best_first(best.items())
