"""Proof that an adapter is really there: the same tokens, scored by vLLM and by PEFT.

The adapter brings canary sequences with PEFT's log-probabilities for the base model and for the
adapted one, in float32. vLLM scores some of the same tokens with the same two models. On two cores
in float32 the two agree within 5e-5 nats, for the base model and for adapters alike; an adapter
that moves canary tokens by 0.5 nats is thus told from half of it, or from none of it, four
thousandfold. In bfloat16 they differ more, by as much for the base model: the difference seen there
scales the tolerance.

Tokens are scored one by one, as the next after what precedes them. vLLM would score a whole prompt
at once (``prompt_logprobs``), but with LoRA on a CPU its engine dies of that as soon as anyone else
is being answered (vLLM issues 16668 and 29955, still so in 0.32).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from services.common.contracts.trainer import Canary
from services.generator.adapters.refusal import (
    AdapterCorrupt,
    AdapterIncompatible,
    AdapterMismatch,
    AdapterNoEffect,
)

PROBES = 6
NOISE_FACTOR = 4.0
"""An adapted model may differ from PEFT's by this many times what the base model does."""


@dataclass(frozen=True)
class Limits:
    """All in nats; see the settings of the same names."""

    proof_tolerance: float
    base_tolerance: float
    min_logprob_delta: float


@dataclass(frozen=True)
class Probe:
    """One canary token, the tokens before it, and PEFT's log-probabilities of it."""

    prefix: Sequence[int]
    token: int
    base: float
    adapted: float

    @property
    def effect(self) -> float:
        return abs(self.adapted - self.base)


@dataclass(frozen=True)
class Served:
    """What vLLM said of one probe, without the adapter and with it."""

    base: float
    adapted: float


@dataclass(frozen=True)
class Measured:
    """Largest differences over all probes, in nats.

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


def probes(canary: Canary) -> list[Probe]:
    """The token that the adapter moves most, and others it moves much after few tokens.

    A prompt of a hundred tokens takes vLLM half a second on a CPU, so effect is weighed against
    length; no more than half of the others come from one sequence.
    """
    known = [
        [
            Probe(sequence.token_ids[:at], sequence.token_ids[at], base, adapted)
            for at, (base, adapted) in enumerate(
                zip(sequence.base, sequence.adapted, strict=True), 1
            )
        ]
        for sequence in canary.sequences
    ]
    cheap = [sorted(of_one, key=_worth, reverse=True)[: PROBES // 2] for of_one in known]
    most = max((probe for of_one in known for probe in of_one), key=lambda probe: probe.effect)
    others = [probe for of_one in cheap for probe in of_one if probe is not most]
    return [most, *sorted(others, key=_worth, reverse=True)[: PROBES - 1]]


def _worth(probe: Probe) -> float:
    return probe.effect / (len(probe.prefix) + 32)


def measure(asked: Sequence[Probe], served: Sequence[Served]) -> Measured:
    """Compare what was served with what PEFT said; ``served`` is in the order of ``asked``."""
    pairs = list(zip(asked, served, strict=True))
    return Measured(
        base_noise=_largest(ours.base - peft.base for peft, ours in pairs),
        served_delta=_largest(ours.adapted - ours.base for _, ours in pairs),
        peft_delta=_largest(peft.effect for peft, _ in pairs),
        peft_diff=_largest(ours.adapted - peft.adapted for peft, ours in pairs),
    )


def _largest(differences: Iterable[float]) -> float:
    """The largest in size; infinite where one is no number, as NaN compares with nothing."""
    return max(abs(d) if math.isfinite(d) else math.inf for d in differences)


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
