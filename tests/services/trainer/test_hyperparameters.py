from typing import Any

import pytest

from services.common.contracts.hyperparameters import (
    DpoHyperparameters,
    EarlyStopping,
    Method,
    SupervisedHyperparameters,
)
from services.common.errors import InvalidRequest
from services.trainer.hyperparameters import reconcile, resolve


@pytest.mark.parametrize(
    ("asked", "examples", "epochs", "batch"),
    [
        ({}, 200, 2, 8),
        ({}, 501, 1, 8),
        ({"recipe": "rag"}, 200, 1, 8),
        ({}, 5, 2, 5),
        ({"n_epochs": 7, "batch_size": 3}, 200, 7, 3),
    ],
)
def test_auto_is_decided_by_recipe_and_size(
    asked: dict[str, Any], examples: int, epochs: int, batch: int
) -> None:
    resolved = resolve(SupervisedHyperparameters.model_validate(asked), examples)
    assert (resolved.n_epochs, resolved.batch_size) == (epochs, batch)


@pytest.mark.parametrize(
    ("asked", "learning_rate"),
    [
        ({}, 2e-4),
        ({"learning_rate_multiplier": 0.5}, 1e-4),
        ({"learning_rate_multiplier": 0.5, "learning_rate": 3e-4}, 3e-4),
    ],
)
def test_a_learning_rate_named_outright_wins(asked: dict[str, Any], learning_rate: float) -> None:
    resolved = resolve(SupervisedHyperparameters.model_validate(asked), 100)
    assert resolved.learning_rate == pytest.approx(learning_rate)


def test_early_stopping_needs_something_to_watch() -> None:
    method = Method.of(SupervisedHyperparameters(early_stopping=EarlyStopping()))
    with pytest.raises(InvalidRequest, match="validation_file"):
        reconcile(method, None, validates=False)
    assert reconcile(method, None, validates=True) == method


def test_preferences_are_learnt_slowly() -> None:
    resolved = resolve(DpoHyperparameters(), 100)
    told = (resolved.n_epochs, resolved.batch_size, resolved.beta, resolved.learning_rate)
    assert told == (1, 8, 0.1, 5e-5)
