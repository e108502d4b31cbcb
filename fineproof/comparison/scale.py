"""Which scale scores are on, and what counts as no difference there."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.evaluator.statistics.scales import ONE_TO_FIVE, UNIT

_SLACK = 1e-9


@dataclass(frozen=True)
class Scale:
    """``margin`` is None where nobody can know what counts as no difference."""

    name: str
    low: float
    high: float
    margin: float | None


def scale_of(scores: Sequence[float]) -> Scale:
    """0 to 1 or 1 to 5 where all scores lie there, with the margins declared for these scales.

    Scores that all lie in 0 to 1 are taken for that scale. Others have no margin of their own.
    """
    low, high = min(scores), max(scores)
    for known in (UNIT, ONE_TO_FIVE):
        if low >= known.low - _SLACK and high <= known.high + _SLACK:
            name = f"{known.low:g} to {known.high:g}"
            return Scale(name, known.low, known.high, known.margin)
    return Scale(f"{low:g} to {high:g}", low, high, None)
