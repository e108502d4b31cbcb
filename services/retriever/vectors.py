"""Vectors that callers bring along."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

# Lengths whose squares a double holds to its full precision.
_SHORT, _LONG = 1e-140, 1e140


def check_size(size: int, dimensions: int) -> None:
    """``ValueError`` for a vector of another size than the store's."""
    if size != dimensions:
        raise ValueError(f"it has {size} numbers, the store's vectors {dimensions}")


def unit(numbers: Sequence[float]) -> npt.NDArray[np.float32]:
    """The vector at length 1; ``ValueError`` where it has no direction or no end."""
    vector = np.array(numbers, np.float64)
    with np.errstate(over="ignore"):
        length = math.sqrt(vector.dot(vector))
    if not _SHORT < length < _LONG:
        vector, length = _scaled(vector)
    of_length_one: npt.NDArray[np.float32] = (vector / length).astype(np.float32)
    return of_length_one


def _scaled(vector: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], float]:
    """By its largest number, where the sum of squares leaves a double's range; and its length."""
    largest = np.abs(vector).max()
    if not np.isfinite(largest):
        raise ValueError("its numbers must be finite")
    if largest == 0:
        raise ValueError("it is zero throughout and points nowhere")
    vector = vector / largest
    return vector, float(np.linalg.norm(vector))
