"""What a test set and training data have in common, as the command line and reports say it."""

from typing import Literal

from pydantic import Field

from services.common.contracts.base import Wire

Likeness = Literal["exact", "same", "near"]


class Matches(Wire):
    """``exact``: letter for letter; ``same``: but for case, punctuation and articles; ``near``: 0.7
    or more of the runs of five characters are shared (Jaccard)."""

    exact: int = 0
    same: int = 0
    near: int = 0

    @property
    def total(self) -> int:
        return self.exact + self.same + self.near


class Lookalike(Wire):
    """One match: a training row, as its file numbers or names it, and the test item it repeats."""

    what: Literal["question", "answer", "passage"]
    likeness: Likeness
    similarity: float
    train: str
    test: str
    text: str


class TrainingOverlap(Wire):
    """Counted in training rows, but for ``items_met``: test items whose question is among them.

    ``repeated``: rows with the question *and* the answer of one test item; ``answers``: of four
    words or more, the same as a test item's; ``passages``: by text; ``gold``: rows that name a
    passage which is gold in the test set, by its id; ``documents``: rows from a document that test
    items come from. ``examples`` are the first matches of each sort.
    """

    rows: int = 0
    items: int = 0
    items_met: int = 0
    questions: Matches = Field(default_factory=Matches)
    repeated: int = 0
    answers: int = 0
    passages: Matches = Field(default_factory=Matches)
    gold: int = 0
    documents: int = 0
    examples: list[Lookalike] = Field(default_factory=list)


class KnownFacts(Wire):
    """Shares of the training facts that the base model says closed-book (Gekhman et al. 2024)."""

    asked: int
    known: float
    weakly_known: float
    unknown: float


class ReportTraining(Wire):
    """What an arm was tuned on; ``overlap`` is null where its file could not be read, for
    ``reason``, and ``facts`` where its job did not ask for them."""

    arm: str
    training_file: str | None = None
    overlap: TrainingOverlap | None = None
    facts: KnownFacts | None = None
    reason: str | None = None
