"""The evaluator's wire of arms: what is under test, by its name or by how it is made."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from services.common.contracts.base import Ask, Id, ShortName
from services.common.contracts.hyperparameters import Recipe, SupervisedHyperparameters
from services.common.contracts.trainer import Checks

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class TuneAsk(Ask):
    """An adapter to be trained for the experiment, or found when it was trained so before.

    ``pairs`` lines of ``training_file`` are drawn by ``sample_seed``: the 200 drawn are among the
    500 of the same seed. Null takes the whole file as it stands, 0 the base model as it is. Each of
    ``seeds`` trains an adapter of its own; all of them answer for the arm. Recipes ``rag`` and
    ``raft`` read the experiment's vector store and its ``max_num_results``, unless
    ``hyperparameters.retrieval`` says otherwise; ``checks`` are the job's own.
    """

    base_model: Id
    recipe: Recipe = "qa"
    training_file: Id | None = None
    pairs: Annotated[int, Field(ge=0, le=10_000_000)] | None = None
    sample_seed: Seed = 0
    hyperparameters: SupervisedHyperparameters = Field(default_factory=SupervisedHyperparameters)
    checks: Checks = Field(default_factory=Checks)
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=16)] = Field(
        default_factory=lambda: [0]
    )

    @model_validator(mode="after")
    def _can_be_made(self) -> Self:
        inner = self.hyperparameters
        if "recipe" not in inner.model_fields_set:
            self.hyperparameters = inner.model_copy(update={"recipe": self.recipe})
        elif "recipe" not in self.model_fields_set:
            self.recipe = inner.recipe
        elif self.recipe != inner.recipe:
            raise ValueError(
                f"recipe '{self.recipe}' and hyperparameters.recipe '{inner.recipe}' differ; "
                "keep one"
            )
        if self.trains and self.training_file is None:
            raise ValueError("training_file is needed; only 'pairs: 0' trains nothing")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("each seed may be named once")
        return self

    @property
    def trains(self) -> bool:
        """Whether anything is trained: with no pair an arm is its base model."""
        return self.pairs != 0


class ForgettingAsk(Ask):
    """The same general questions asked of every arm, closed book: what did tuning cost elsewhere?

    ``file_id`` is a file of test items; null is the panel that comes with the evaluator.
    ``metrics`` × arms are a Holm family of their own.
    """

    file_id: Id | None = None
    metrics: Annotated[list[ShortName], Field(min_length=1, max_length=4)] = Field(
        default_factory=lambda: ["contains_answer"]
    )


class ArmAsk(Ask):
    """A model under test: ``model`` is the base's name, an adapter's or an alias's, and ``tune``
    how to make one; one of the two is given."""

    name: ShortName
    model: Id | None = None
    tune: TuneAsk | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.model is None) == (self.tune is None):
            raise ValueError(f"arm '{self.name}' needs model or tune, and not both")
        return self
