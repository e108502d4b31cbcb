"""How examples go through a model; the rules that training and estimate share."""

from services.common.contracts.hyperparameters import (
    DpoHyperparameters,
    SupervisedHyperparameters,
)

MICRO_BATCH_TOKENS = {"cuda": 16_384, "cpu": 3_072}
"""Tokens of one forward pass, padding included, by kind of device."""

MERGED_FROM = 1_024
"""Tokens of an optimizer step from which on merging the adapter costs less than it saves: of
SmolLM2-135M on two cores it takes 64 ms, and saves 7 % of 2 ms a token."""


def micro_batch(batch: int, longest: int, tokens: int) -> int:
    """The largest divisor of ``batch`` whose padded examples stay within ``tokens``."""
    return max(
        (size for size in range(1, batch + 1) if batch % size == 0 and size * longest <= tokens),
        default=1,
    )


def merges(
    asked: SupervisedHyperparameters | DpoHyperparameters, batch: int, mean: float, kind: str
) -> bool:
    """Whether the adapter is merged into the weights at each step of ``batch`` examples, of
    ``mean`` tokens: a plain one into weights that are not quantized. Not for DPO, whose reference
    is the base model without it, nor on a GPU, where nobody has measured it."""
    return (
        kind == "cpu"
        and isinstance(asked, SupervisedHyperparameters)
        and asked.quantization == "none"
        and not asked.lora.use_dora
        and asked.lora.lora_dropout == 0
        and batch * mean >= MERGED_FROM
    )
