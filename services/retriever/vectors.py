"""Vectors that callers bring along."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def check_size(size: int, dimensions: int) -> None:
    """``ValueError`` for a vector of another size than the store's."""
    if size != dimensions:
        raise ValueError(f"it has {size} numbers, the store's vectors {dimensions}")


def unit(numbers: Sequence[float]) -> npt.NDArray[np.float32]:
    """The vector at length 1; ``ValueError`` where it has no direction or no end."""
    vector = np.asarray(numbers, np.float64)
    largest = np.abs(vector).max()
    if not np.isfinite(largest):
        raise ValueError("its numbers must be finite")
    if largest == 0:
        raise ValueError("it is zero throughout and points nowhere")
    # First by the largest: squares of very large or small numbers leave a double's range.
    vector = vector / largest
    of_length_one: npt.NDArray[np.float32] = (vector / np.linalg.norm(vector)).astype(np.float32)
    return of_length_one
