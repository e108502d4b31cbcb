"""What a job trains with: OpenAI's two ways of asking made one, and ``auto`` made a number."""

from services.common.contracts.trainer import (
    Method,
    OpenAIHyperparameters,
    Supervised,
    SupervisedHyperparameters,
)
from services.common.errors import InvalidRequest

LEARNING_RATE = 2e-4
BATCH_SIZE = 8
SMALL = 500
"""Examples up to which recipe ``qa`` goes over its data twice."""


def reconcile(method: Method | None, deprecated: OpenAIHyperparameters | None) -> Method:
    """One method from ``method`` and the deprecated top-level ``hyperparameters``.

    Raises ``InvalidRequest`` where both name a value and they differ, or where recipe ``rag`` has
    nowhere to look.
    """
    asked = (method or Method()).supervised.hyperparameters
    for name in OpenAIHyperparameters.model_fields if deprecated else ():
        old, new = getattr(deprecated, name), getattr(asked, name)
        if "auto" not in (old, new) and old != new:
            raise InvalidRequest(
                f"'hyperparameters.{name}' is {old} but 'method' says {new}; send one of them.",
                param=f"hyperparameters.{name}",
            )
        if new == "auto":
            asked = asked.model_copy(update={name: old})
    if asked.recipe == "rag" and asked.retrieval is None:
        raise InvalidRequest(
            "Recipe 'rag' needs 'retrieval.vector_store_id': the store whose passages go into the "
            "training prompts.",
            code="missing_required_parameter",
            param="method.supervised.hyperparameters.retrieval.vector_store_id",
        )
    return Method(supervised=Supervised(hyperparameters=asked))


def resolve(asked: SupervisedHyperparameters, examples: int) -> SupervisedHyperparameters:
    """``asked`` with every ``auto`` decided for ``examples`` rows.

    Two passes over few closed-book pairs: one hardly moves the model. Prompts with passages carry
    ten times the tokens and are learnt in one.
    """
    twice = asked.recipe == "qa" and examples <= SMALL
    multiplier = 1.0 if asked.learning_rate_multiplier == "auto" else asked.learning_rate_multiplier
    return asked.model_copy(
        update={
            "n_epochs": (2 if twice else 1) if asked.n_epochs == "auto" else asked.n_epochs,
            "batch_size": min(BATCH_SIZE, examples)
            if asked.batch_size == "auto"
            else asked.batch_size,
            "learning_rate_multiplier": multiplier,
            "learning_rate": asked.learning_rate or LEARNING_RATE * multiplier,
        }
    )
