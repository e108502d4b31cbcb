"""Repeats nest in items: ten runs of a judge, or several answers, are one score and its spread."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Repeated:
    """``means`` has one score an item, None where no repeat was scored.

    ``spread`` is the standard deviation between repeats of one item, pooled over items; None where
    no item has two. ``unscored`` counts repeats without a score.
    """

    means: list[float | None]
    spread: float | None
    unscored: int


def over_repeats(scores: Sequence[Sequence[float | None]]) -> Repeated:
    """Average the repeats of each item; their differences say how repeatable a score is.

    s = √(Σ(x − x̄ᵢ)² / Σ(kᵢ − 1)), the within-subject standard deviation: J. Bland and D. Altman,
    "Measurement Error", BMJ 312, 1996. Repeats add no items: n and its intervals are the items'.
    """
    means: list[float | None] = []
    squares, freedom, unscored = 0.0, 0, 0
    for repeats in scores:
        scored = [score for score in repeats if score is not None]
        unscored += len(repeats) - len(scored)
        mean = math.fsum(scored) / len(scored) if scored else None
        means.append(mean)
        if mean is not None:
            squares += sum((score - mean) ** 2 for score in scored)
            freedom += len(scored) - 1
    return Repeated(means, math.sqrt(squares / freedom) if freedom else None, unscored)
