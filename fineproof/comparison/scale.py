"""Which scale scores are on, and what counts as no difference there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fineproof.errors import UserError
from services.evaluator.statistics import scales
from services.evaluator.statistics.scales import ONE_TO_FIVE, UNIT

_SLACK = 1e-9


@dataclass(frozen=True)
class Scale:
    """``margin`` is None where nobody can know what counts as no difference; there ``low`` and
    ``high`` are what was seen, and the scale may end anywhere beyond."""

    name: str
    low: float
    high: float
    margin: float | None

    @property
    def known(self) -> bool:
        return self.margin is not None


def scale_of(scores: Sequence[float]) -> Scale:
    """0 to 1 or 1 to 5 where all scores lie there, with the margins declared for these scales.

    Scores that all lie in 0 to 1 are taken for that scale. Others have no margin of their own.
    """
    low, high = min(scores), max(scores)
    for known in (UNIT, ONE_TO_FIVE):
        if low >= known.low - _SLACK and high <= known.high + _SLACK:
            return _named(known)
    return Scale(f"{low:g} to {high:g}", low, high, None)


def declared(text: str) -> Scale:
    """The scale of ``--scale LOW:HIGH``; its margin is 0 to 1's in proportion, or 1 to 5's own."""
    try:
        low, high = map(float, text.split(":"))
        if not math.isfinite(high - low):
            raise ValueError
        return _named(scales.scale_of(low, high))
    except ValueError as error:
        raise UserError(
            f"--scale {text}: give the lowest and the highest score as LOW:HIGH, such as 0:100."
        ) from error


def _named(scale: scales.Scale) -> Scale:
    return Scale(f"{scale.low:g} to {scale.high:g}", scale.low, scale.high, scale.margin)
