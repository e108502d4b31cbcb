"""Proof that an adapter is really there: the same tokens, scored by vLLM and by PEFT.

The adapter brings canary sequences with PEFT's log-probabilities for the base model and for the
adapted one, in float32. vLLM scores the same tokens with the same two models. On two cores in
float32 the two agree within 5e-5 nats, for the base model and for adapters alike; an adapter that
moves canary tokens by 0.5 nats is thus told from half of it, or from none of it, four thousandfold.
In bfloat16 they differ more, by as much for the base model: the difference seen there scales the
tolerance.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from services.common.contracts.trainer import Canary
from services.generator.refusal import (
    AdapterCorrupt,
    AdapterIncompatible,
    AdapterMismatch,
    AdapterNoEffect,
)

NOISE_FACTOR = 4.0
"""An adapted model may differ from PEFT's by this many times what the base model does."""


@dataclass(frozen=True)
class Limits:
    """All in nats; see the settings of the same names."""

    proof_tolerance: float
    base_tolerance: float
    min_logprob_delta: float


@dataclass(frozen=True)
class Served:
    """What vLLM said of one canary sequence, without the adapter and with it."""

    base: Sequence[float]
    adapted: Sequence[float]


@dataclass(frozen=True)
class Measured:
    """Largest differences over all canary tokens, in nats.

    ``base_noise``: the base model, served against PEFT's. ``served_delta`` and ``peft_delta``: what
    the adapter changes, as served and as PEFT computed. ``peft_diff``: the adapted model, served
    against PEFT's.
    """

    base_noise: float
    served_delta: float
    peft_delta: float
    peft_diff: float


def read_canary(file: Path) -> Canary:
    try:
        canary = Canary.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise AdapterCorrupt(f"{file.name} cannot be read: {error.errors()[0]['msg']}.") from error
    for sequence in canary.sequences:
        known = (*sequence.base, *sequence.adapted)
        lengths = {len(sequence.base), len(sequence.adapted), len(sequence.token_ids) - 1}
        if len(lengths) != 1 or not known or not all(map(math.isfinite, known)):
            raise AdapterCorrupt(f"{file.name} holds a sequence without one finite pair a token.")
    if not canary.sequences:
        raise AdapterCorrupt(f"{file.name} holds no sequences, so nothing could be proven.")
    return canary


def measure(canary: Canary, served: Sequence[Served]) -> Measured:
    """Compare what was served with what PEFT said; ``served`` is in the canary's order."""
    pairs = list(zip(canary.sequences, served, strict=True))
    return Measured(
        base_noise=max(_largest(ours.base, peft.base) for peft, ours in pairs),
        served_delta=max(_largest(ours.adapted, ours.base) for _, ours in pairs),
        peft_delta=max(_largest(peft.adapted, peft.base) for peft, _ in pairs),
        peft_diff=max(_largest(ours.adapted, peft.adapted) for peft, ours in pairs),
    )


def _largest(left: Iterable[float], right: Iterable[float]) -> float:
    """Largest absolute difference; infinite where a number is missing (NaN compares as nothing)."""
    differences = [abs(a - b) for a, b in zip(left, right, strict=True)]
    return max(d if math.isfinite(d) else math.inf for d in differences)


def tolerance(measured: Measured, limits: Limits) -> float:
    """The largest accepted ``peft_diff``, in nats."""
    return max(limits.proof_tolerance, NOISE_FACTOR * measured.base_noise)


def judge(measured: Measured, limits: Limits) -> None:
    """Raise what speaks against the adapter; return when it is proven."""
    if measured.base_noise > limits.base_tolerance:
        raise AdapterIncompatible(
            "The adapter was trained on another base model: without it, canary tokens differ by "
            f"{measured.base_noise:.3g} nats from those of the model it was trained on "
            f"(at most {limits.base_tolerance:.3g} are accepted)."
        )
    if measured.peft_delta < limits.min_logprob_delta:
        raise AdapterNoEffect(
            "The adapter changes nothing: by PEFT's own account its largest effect on a canary "
            f"token is {measured.peft_delta:.3g} nats. Was it trained at all?"
        )
    if measured.served_delta < max(limits.min_logprob_delta, measured.peft_delta / 2):
        raise AdapterNoEffect(
            "The model answers as if the adapter were not there: it changes a canary token by at "
            f"most {measured.served_delta:.3g} nats, and by {measured.peft_delta:.3g} in PEFT."
        )
    accepted = tolerance(measured, limits)
    if measured.peft_diff > accepted:
        raise AdapterMismatch(
            "What is served is not what was trained: canary tokens differ by up to "
            f"{measured.peft_diff:.3g} nats from PEFT's (at most {accepted:.3g} are accepted)."
        )
