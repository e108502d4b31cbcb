"""Numbers as graders say them."""

import math
from typing import Any


def finite(value: Any) -> float | None:
    """None for what is no number, is not finite, or is a whole number too large for a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
