"""How many examples go through a model at once; the rule that training and estimate share."""

MICRO_BATCH_TOKENS = {"cuda": 16_384, "cpu": 1_536}
"""Tokens of one forward pass, padding included, by kind of device."""


def micro_batch(batch: int, longest: int, tokens: int) -> int:
    """The largest divisor of ``batch`` whose padded examples stay within ``tokens``."""
    return max(
        (size for size in range(1, batch + 1) if batch % size == 0 and size * longest <= tokens),
        default=1,
    )
