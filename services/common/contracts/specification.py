"""The evaluator's wire of a specification's parts: data, and how answers are drawn and weighed."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from services.common.contracts.base import Ask, Id, Name, ShortName

Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]


class DatasetAsk(Ask):
    """Test items: a file of ``{id, question, answer, evidence_ids?, aliases?, doc_id?}`` lines."""

    name: Name
    file_id: Id


class SamplingAsk(Ask):
    """How answers are drawn: ``repeats`` of each, with ``seeds`` of their own or ``seed``, ``seed``
    + 1 and so on. Repeats are averaged within their item; they add no items."""

    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Seed = 0
    repeats: Annotated[int, Field(ge=1, le=100)] = 1
    seeds: Annotated[list[Seed], Field(max_length=100)] = Field(default_factory=list)

    def seed_of(self, repeat: int) -> int:
        return self.seeds[repeat] if self.seeds else (self.seed + repeat) % 2**31

    @model_validator(mode="after")
    def _repeats_differ(self) -> Self:
        if self.repeats > 1 and not self.temperature:
            raise ValueError("repeats need a temperature above 0: at 0 every answer is the same")
        if self.seeds and len(self.seeds) != self.repeats:
            raise ValueError(f"name {self.repeats} seeds, one a repeat, or none")
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("each seed may be named once")
        return self


class RetrievalAsk(Ask):
    """``within_document`` searches only the item's own ``doc_id``: questions about one paper.

    ``distractors`` says what that condition is given: what was found without the gold passages, or
    the gold passages among near misses, in an order that no rank gives away.
    """

    max_num_results: Annotated[int, Field(ge=1, le=50)] = 3
    within_document: bool = False
    distractors: Literal["gold_removed", "gold_among"] = "gold_removed"


class StatisticsAsk(Ask):
    """``margin`` is what counts as no difference, on the metric's scale (two one-sided tests);
    ``margins`` are those of single metrics."""

    resamples: Annotated[int, Field(ge=1_000, le=200_000)] = 10_000
    permutations: Annotated[int, Field(ge=1_000, le=200_000)] = 10_000
    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    margin: Annotated[float, Field(gt=0, le=1)] = 0.05
    margins: dict[ShortName, Annotated[float, Field(gt=0, le=10)]] = Field(
        default_factory=dict, max_length=64
    )
    seed: Seed = 0

    def margin_of(self, metric: str) -> float:
        return self.margins.get(metric, self.margin)
