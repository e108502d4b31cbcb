from pathlib import Path

import pytest

from services.common.contracts.trainer import Canary, CanarySequence
from services.generator.adapters.proof import (
    PROBES,
    Limits,
    Measured,
    Probe,
    Served,
    judge,
    measure,
    probes,
    read_canary,
    tolerance,
)
from services.generator.adapters.refusal import (
    AdapterCorrupt,
    AdapterIncompatible,
    AdapterMismatch,
    AdapterNoEffect,
    AdapterRefused,
)

LIMITS = Limits(proof_tolerance=0.01, base_tolerance=0.5, min_logprob_delta=1e-3)
GOOD = Measured(base_noise=5e-5, served_delta=0.47, peft_delta=0.47, peft_diff=5e-5)


def changed(**values: float) -> Measured:
    return Measured(**{**vars(GOOD), **values})


def canary(*effects: list[float]) -> Canary:
    """One sequence a list, in which PEFT moves each token after the first by so many nats."""
    return Canary(
        sequences=[
            CanarySequence(
                token_ids=list(range(number * 100, number * 100 + len(moved) + 1)),
                base=[-2.0] * len(moved),
                adapted=[-2.0 + effect for effect in moved],
            )
            for number, moved in enumerate(effects, 1)
        ]
    )


def test_the_largest_difference_over_all_probes_counts() -> None:
    asked = [Probe([1], 2, -1.0, -1.5), Probe([1, 2], 3, -2.0, -2.0), Probe([4], 5, -3.0, -1.0)]
    served = [Served(-1.0, -1.5), Served(-2.25, -2.0), Served(-3.0, -1.125)]
    assert vars(measure(asked, served)) == {
        "base_noise": 0.25,
        "served_delta": 1.875,
        "peft_delta": 2.0,
        "peft_diff": 0.125,
    }


def test_a_probe_is_a_token_with_what_precedes_it() -> None:
    (probe,) = probes(canary([0.5]))
    assert vars(probe) == {"prefix": [100], "token": 101, "base": -2.0, "adapted": -1.5}


def test_the_most_moved_token_is_always_probed_and_cheap_ones_beside_it() -> None:
    asked = probes(canary([0.1] * 10, [0.2] * 80 + [-3.0]))
    assert len(asked) == PROBES
    assert (asked[0].effect, len(asked[0].prefix)) == (3.0, 81)
    assert all(len(probe.prefix) <= 3 for probe in asked[1:])
    assert {probe.token // 100 for probe in asked[1:]} == {1, 2}


def test_agreement_within_rounding_is_proof() -> None:
    judge(GOOD, LIMITS)


@pytest.mark.parametrize(
    ("measured", "refusal"),
    [
        (changed(base_noise=4.0), AdapterIncompatible),
        (changed(peft_delta=0.0, served_delta=0.0), AdapterNoEffect),
        (changed(served_delta=0.0, peft_diff=0.47), AdapterNoEffect),
        (changed(served_delta=0.2, peft_diff=0.27), AdapterNoEffect),
        (changed(peft_diff=0.02), AdapterMismatch),
        (changed(served_delta=float("inf"), peft_diff=float("inf")), AdapterMismatch),
        (changed(base_noise=float("inf")), AdapterIncompatible),
    ],
)
def test_what_speaks_against_an_adapter_is_told_apart(
    measured: Measured, refusal: type[AdapterRefused]
) -> None:
    with pytest.raises(refusal):
        judge(measured, LIMITS)


def test_where_the_base_model_is_served_less_exactly_the_adapter_may_be_too() -> None:
    coarse = changed(base_noise=0.02, peft_diff=0.07)
    assert tolerance(coarse, LIMITS) == pytest.approx(0.08)
    judge(coarse, LIMITS)


def test_a_small_effect_must_still_be_seen() -> None:
    with pytest.raises(AdapterNoEffect):
        judge(changed(peft_delta=0.008, served_delta=0.0, peft_diff=0.008), LIMITS)


def test_numbers_that_are_none_are_not_taken_for_agreement() -> None:
    measured = measure([Probe([1], 2, -1.0, -2.0)], [Served(-1.0, float("nan"))])
    with pytest.raises(AdapterMismatch):
        judge(measured, LIMITS)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        '{"version": 2, "sequences": []}',
        '{"sequences": []}',
        '{"sequences": [{"token_ids": [1], "base": [], "adapted": []}]}',
        '{"sequences": [{"token_ids": [1, 2], "base": [-1.0, -2.0], "adapted": [-1.0]}]}',
        '{"sequences": [{"token_ids": [1, 2], "base": [-1.0], "adapted": [NaN]}]}',
    ],
)
def test_a_canary_that_could_prove_nothing_is_corrupt(tmp_path: Path, content: str) -> None:
    file = tmp_path / "canary.json"
    file.write_text(content)
    with pytest.raises(AdapterCorrupt):
        read_canary(file)
