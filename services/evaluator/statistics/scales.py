"""What a metric's scale says: the range of its scores, and what counts as no difference."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Scores lie between ``low`` and ``high``; a difference within ±``margin`` is none that counts.

    ``deviation`` is the standard deviation of paired differences to plan with while none is known:
    a quarter of yes-or-no answers changing sides; a judge's score moving by a point.
    """

    low: float
    high: float
    margin: float
    deviation: float

    @property
    def width(self) -> float:
        return self.high - self.low


UNIT = Scale(0.0, 1.0, margin=0.05, deviation=0.5)
ONE_TO_FIVE = Scale(1.0, 5.0, margin=0.25, deviation=1.0)


def scale_of(low: float, high: float) -> Scale:
    """The scale from ``low`` to ``high``: one of the two above, or like 0 to 1 in proportion."""
    if not low < high:
        raise ValueError("a scale must end above where it starts")
    known = {(scale.low, scale.high): scale for scale in (UNIT, ONE_TO_FIVE)}
    width = high - low
    return known.get((low, high), Scale(low, high, UNIT.margin * width, UNIT.deviation * width))
