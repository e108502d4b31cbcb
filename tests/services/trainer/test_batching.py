from typing import Any

import pytest

from services.common.contracts.hyperparameters import DpoHyperparameters, SupervisedHyperparameters
from services.trainer.batching import MERGED_FROM, merges, micro_batch


@pytest.mark.parametrize(
    ("batch", "longest", "tokens", "micro"),
    [(8, 50, 2048, 8), (8, 350, 2048, 4), (8, 4000, 2048, 1), (6, 700, 2048, 2), (1, 1, 16, 1)],
)
def test_a_micro_batch_divides_the_batch_and_stays_in_its_budget(
    batch: int, longest: int, tokens: int, micro: int
) -> None:
    assert micro_batch(batch, longest, tokens) == micro


@pytest.mark.parametrize(
    ("asked", "mean", "kind", "expected"),
    [
        ({}, MERGED_FROM / 8, "cpu", True),
        ({}, MERGED_FROM / 8 - 1, "cpu", False),
        ({}, 1e6, "cuda", False),
        ({"quantization": "4bit"}, 1e6, "cpu", False),
        ({"lora": {"use_dora": True}}, 1e6, "cpu", False),
        ({"lora": {"lora_dropout": 0.1}}, 1e6, "cpu", False),
    ],
)
def test_large_steps_of_plain_adapters_are_merged(
    asked: dict[str, Any], mean: float, kind: str, expected: bool
) -> None:
    hyperparameters = SupervisedHyperparameters.model_validate(asked)
    assert merges(hyperparameters, 8, mean, kind) is expected


def test_preferences_are_not_merged() -> None:
    assert not merges(DpoHyperparameters(), 8, 1e6, "cpu")
