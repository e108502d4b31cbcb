"""What a job trains with: OpenAI's two ways of asking made one, and ``auto`` made a number."""

from collections.abc import Iterator
from typing import BinaryIO, TypeVar

from services.common.contracts.hyperparameters import (
    DpoHyperparameters,
    Hyperparameters,
    Method,
    OpenAIHyperparameters,
    SupervisedHyperparameters,
)
from services.common.errors import InvalidRequest
from services.trainer.preparing.examples import Example, Form, read_examples

LEARNING_RATE = 2e-4
DPO_LEARNING_RATE = 5e-5
BETA = 0.1
BATCH_SIZE = 8
SMALL = 500
"""Examples up to which recipe ``qa`` goes over its data twice."""


def reconcile(
    method: Method | None, deprecated: OpenAIHyperparameters | None, *, validates: bool
) -> Method:
    """One method from ``method`` and the deprecated top-level ``hyperparameters``.

    ``validates`` says that there is a validation file. Raises ``InvalidRequest`` where both name a
    value and they differ, where recipe ``rag`` has nowhere to look, or early stopping nothing to
    look at.
    """
    asked = (method or Method()).hyperparameters
    for name in OpenAIHyperparameters.model_fields if deprecated else ():
        old, new = getattr(deprecated, name), getattr(asked, name)
        if "auto" not in (old, new) and old != new:
            raise InvalidRequest(
                f"'hyperparameters.{name}' is {old} but 'method' says {new}; send one of them.",
                param=f"hyperparameters.{name}",
            )
        if new == "auto":
            asked = asked.model_copy(update={name: old})
    if (
        isinstance(asked, SupervisedHyperparameters)
        and asked.recipe != "qa"
        and asked.retrieval is None
    ):
        raise InvalidRequest(
            f"Recipe '{asked.recipe}' needs 'retrieval.vector_store_id': the store whose "
            "passages go into the training prompts.",
            code="missing_required_parameter",
            param="method.supervised.hyperparameters.retrieval.vector_store_id",
        )
    if asked.early_stopping is not None and not validates:
        raise InvalidRequest(
            "'early_stopping' watches the validation loss; send a 'validation_file'.",
            code="missing_required_parameter",
            param="validation_file",
        )
    return Method.of(asked)


def recipe_of(asked: SupervisedHyperparameters | DpoHyperparameters) -> Form:
    """How the training prompts are built, as the registry calls it; preferences are ``dpo``."""
    return asked.recipe if isinstance(asked, SupervisedHyperparameters) else "dpo"


def examples_of(
    source: BinaryIO, asked: SupervisedHyperparameters | DpoHyperparameters
) -> Iterator[Example]:
    """The examples of an open file, which hold what training so needs; raises
    ``InvalidTrainingFile``."""
    recipe = recipe_of(asked)
    retrieval = asked.retrieval if isinstance(asked, SupervisedHyperparameters) else None
    within = recipe != "qa" and retrieval is not None and retrieval.within_document
    return read_examples(source, recipe, needs_doc_ids=within)


Asked = TypeVar("Asked", bound=Hyperparameters)


def resolve(asked: Asked, examples: int) -> Asked:
    """``asked`` with every ``auto`` decided for ``examples`` rows."""
    usual = _usual(asked, examples)
    multiplier = 1.0 if asked.learning_rate_multiplier == "auto" else asked.learning_rate_multiplier
    usual["learning_rate_multiplier"] = multiplier
    usual["learning_rate"] *= multiplier
    told = {name: getattr(asked, name) for name in usual}
    return asked.model_copy(
        update={name: usual[name] if told[name] in ("auto", None) else told[name] for name in usual}
    )


def _usual(asked: Hyperparameters, examples: int) -> dict[str, float]:
    """Two passes over few closed-book pairs: one hardly moves the model. Prompts with passages
    carry ten times the tokens and are learnt in one."""
    batch = min(BATCH_SIZE, examples)
    if isinstance(asked, DpoHyperparameters):
        rate = DPO_LEARNING_RATE
        return {"n_epochs": 1, "batch_size": batch, "learning_rate": rate, "beta": BETA}
    assert isinstance(asked, SupervisedHyperparameters)  # there are two methods
    return {
        "n_epochs": 2 if asked.recipe == "qa" and examples <= SMALL else 1,
        "batch_size": 1 if asked.packing else batch,  # a packed row holds many examples
        "learning_rate": LEARNING_RATE,
    }
