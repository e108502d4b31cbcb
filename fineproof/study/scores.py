"""The answers of one experiment under one condition, as a study weighs them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from services.common.contracts.evaluator import AnswerRow
from services.evaluator.statistics.repeats import over_repeats

Repeats = Sequence[Mapping[str, float | None]]


@dataclass(frozen=True)
class Item:
    """What makes an item the same in two experiments."""

    question: str
    reference: str
    cluster: str


@dataclass(frozen=True)
class ArmScores:
    """What one arm answered to the items it was asked: scores by metric, of each repeat."""

    answers: Mapping[str, Repeats]

    def of(self, metric: str) -> dict[str, float | None]:
        """Item id to its score, averaged over its answers; None is unscored."""
        asked = [[row.get(metric) for row in rows] for rows in self.answers.values()]
        return dict(zip(self.answers, over_repeats(asked).means, strict=True))

    def came(self, item: str) -> bool:
        """Whether any answer to the item was scored by any metric."""
        return any(score is not None for row in self.answers[item] for score in row.values())


@dataclass(frozen=True)
class Answers:
    """``cells`` are arms over all their trainings, ``trainings`` each by itself, in the order of
    their seeds; items in the order of the file. ``passages`` are what the prompts of an item held,
    as one of its answers tells."""

    items: Mapping[str, Item]
    passages: Mapping[str, Sequence[str]]
    cells: Mapping[str, ArmScores]
    trainings: Mapping[str, Sequence[ArmScores]]


def answers_of(rows: Iterable[AnswerRow]) -> Answers:
    items: dict[str, Item] = {}
    passages: dict[str, list[str]] = {}
    answers: dict[str, dict[str, list[Mapping[str, float | None]]]] = {}
    trained: dict[str, dict[int, dict[str, list[Mapping[str, float | None]]]]] = {}
    for row in rows:
        items.setdefault(row.item_id, Item(row.question, row.reference, row.cluster))
        if row.answer is not None:
            passages.setdefault(row.item_id, row.passage_ids)
        answers.setdefault(row.arm, {}).setdefault(row.item_id, []).append(row.scores)
        by_seed = trained.setdefault(row.arm, {}).setdefault(row.training_seed or 0, {})
        by_seed.setdefault(row.item_id, []).append(row.scores)
    return Answers(
        items=items,
        passages=passages,
        cells={arm: ArmScores(of) for arm, of in answers.items()},
        trainings={
            arm: [ArmScores(by_seed[seed]) for seed in sorted(by_seed)]
            for arm, by_seed in trained.items()
        },
    )
