"""What a tuning is made with: what a search varies of it, and what it leaves as it is."""

from pydantic import BaseModel, ConfigDict

from services.common.contracts.findings import Action
from services.common.contracts.hyperparameters import (
    LoraHyperparameters,
    Recipe,
    Retrieval,
    SupervisedHyperparameters,
)

RECIPES: tuple[Recipe, ...] = ("qa", "rag", "raft")
"""From bare questions to passages that have to be told apart."""
LEAST_RANK = 8


class Candidate(BaseModel):
    """A way of tuning. ``lora_alpha`` is twice the ``rank``: a smaller one keeps the scale."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe = "qa"
    n_epochs: int = 2
    rank: int = 16
    batch_size: int = 8
    learning_rate: float = 2e-4
    seed: int = 0

    @property
    def name(self) -> str:
        """What a search calls its arm."""
        return f"{self.recipe}-e{self.n_epochs}-r{self.rank}"

    @property
    def words(self) -> str:
        epochs = "1 epoch" if self.n_epochs == 1 else f"{self.n_epochs} epochs"
        return f"{self.recipe}, {epochs}, rank {self.rank}"

    def hyperparameters(self, retrieval: Retrieval | None = None) -> SupervisedHyperparameters:
        return SupervisedHyperparameters(
            recipe=self.recipe,
            retrieval=retrieval,
            n_epochs=self.n_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            lora=LoraHyperparameters(r=self.rank, lora_alpha=2 * self.rank),
        )

    def remedied(self, action: Action) -> "Candidate | None":
        """As a remedy would have it: itself where that goes no further, None for what is no way of
        tuning but changes what every arm is asked, or which checkpoint is."""
        match action:
            case "recipe_rag":
                return self.with_recipe("rag")
            case "recipe_raft":
                return self.with_recipe("raft")
            case "fewer_epochs":
                return self.model_copy(update={"n_epochs": max(1, self.n_epochs // 2)})
            case "smaller_rank":
                least = min(self.rank, LEAST_RANK)
                return self.model_copy(update={"rank": max(least, self.rank // 2)})
            case _:
                return None

    def with_recipe(self, recipe: Recipe) -> "Candidate":
        return self.model_copy(update={"recipe": recipe})
