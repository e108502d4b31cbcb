"""What is asked: every item of every arm under every condition, as often as it is repeated."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from services.common.contracts.evaluator import ExperimentCreate, SamplingAsk
from services.common.contracts.generator import Condition, GivenPassage, RagAsk
from services.common.prompts import TEMPLATE_SHA256
from services.evaluator import storage
from services.evaluator.cache import ServedBy, key_of
from services.evaluator.models import Item, Json
from services.evaluator.phases.proving import ProvenArm

READING = 1
"""To be raised where the generator comes to read models' texts otherwise: to split off reasoning,
or to cite, by other rules."""


@dataclass(frozen=True)
class Question:
    item: Item
    condition: Condition
    arm: ProvenArm
    repeat: int
    sampling: SamplingAsk

    @property
    def passages(self) -> list[Json] | None:
        """What the prompt is given; None for ``closed_book``."""
        given: Mapping[Condition, list[Json]] = {
            "retrieved": self.item.retrieved,
            "oracle": self.item.oracle,
            "distractors": self.item.distractors,
        }
        return given.get(self.condition)

    @property
    def key(self) -> storage.AnswerKey:
        """Of the answer's row."""
        return storage.AnswerKey(
            self.item.item_id,
            self.arm.name,
            self.condition,
            self.arm.training_seed or 0,
            self.repeat,
        )

    @property
    def wording(self) -> RagAsk:
        passages = self.passages
        return RagAsk(
            question=self.item.question,
            model=self.arm.model,
            passages=None
            if passages is None
            else [GivenPassage.model_validate(passage) for passage in passages],
            condition=self.condition,
            max_tokens=self.sampling.max_tokens,
            temperature=self.sampling.temperature,
            seed=self.sampling.seed_of(self.repeat),
        )

    @property
    def cache_key(self) -> str:
        """The same for whoever asks the same of the same weights, in whatever experiment.

        Of what is sent, all that the answer depends on: a condition's name and the passages'
        scores do not reach the model, nor does a seed matter where nothing is drawn.
        """
        sampled = self.sampling.temperature > 0
        return key_of(
            {
                "question": self.item.question,
                "passages": self.passages
                and [
                    {name: passage.get(name) for name in ("id", "title", "text")}
                    for passage in self.passages
                ],
                "max_tokens": self.sampling.max_tokens,
                "temperature": self.sampling.temperature,
                "seed": self.sampling.seed_of(self.repeat) if sampled else None,
                "template_sha256": TEMPLATE_SHA256,
                "served": self.arm.served,
                "reading": READING,
            },
            ServedBy(self.arm.model, self.arm.sha256),
            self.repeat,
        )


def questions(item: Item, spec: ExperimentCreate, arms: Sequence[ProvenArm]) -> Iterator[Question]:
    """All that is asked about one item, arms beside each other so that a drift hits them alike.

    Each item starts with another arm: none is always the one that meets a cold prefix cache.
    Items without gold passages are not asked under ``oracle``.
    """
    first = item.ordinal % len(arms)
    turn = (*arms[first:], *arms[:first])
    conditions = [name for name in spec.conditions if name != "oracle" or item.oracle]
    for condition, repeat, arm in product(conditions, range(spec.sampling.repeats), turn):
        yield Question(item, condition, arm, repeat, spec.sampling)


def count(spec: ExperimentCreate, arms: int, *, items: int, with_evidence: int) -> int:
    """How many answers there will be, from ``arms`` models."""
    asked = sum(with_evidence if name == "oracle" else items for name in spec.conditions)
    return arms * asked * spec.sampling.repeats
