"""The scores of an experiment's answers, as its analysis asks for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.common.contracts.generator import Condition
from services.evaluator.statistics.missing import Answered, Average

Scores = Mapping[str, float | None]
Cell = tuple[str, Condition]  # an arm under a condition


@dataclass(frozen=True)
class ScoreTable:
    """Scores of all answers: by arm and condition, then item, then metric; null is unscored.

    ``cells`` are means over an item's repeats and an arm's trainings; ``trainings`` has each
    training by itself, of the arms that were trained from several seeds; ``spreads`` how far the
    repeats of an item differ, by metric. ``answers`` are those that a mean is over, where an item
    has several.
    """

    clusters: Mapping[str, str]
    cells: Mapping[Cell, Mapping[str, Scores]]
    trainings: Mapping[Cell, Sequence[Mapping[str, Scores]]] = field(default_factory=dict)
    spreads: Mapping[Cell, Mapping[str, float]] = field(default_factory=dict)
    answers: Mapping[Cell, Mapping[str, Sequence[Scores]]] = field(default_factory=dict)

    def of(self, arm: str, condition: Condition, metric: str) -> dict[str, float]:
        """Item id to score, for the items that have one."""
        return {
            item: value
            for item, scores in self.cells.get((arm, condition), {}).items()
            if (value := scores.get(metric)) is not None
        }

    def each(
        self, arm: str, condition: Condition, metric: str, items: Sequence[str]
    ) -> list[dict[str, float]]:
        """Item id to score for each training of an arm, of those ``items`` that all have one of.

        Empty for an arm of one training, and where there is no such item.
        """
        scored = [
            {item: value for item in items if (value := cell.get(item, {}).get(metric)) is not None}
            for cell in self.trainings.get((arm, condition), ())
        ]
        shared = [item for item in items if all(item in scores for scores in scored)]
        if len(scored) < 2 or not shared:
            return []
        return [{item: scores[item] for item in shared} for scores in scored]

    def averages(self, cell: Cell, metric: str, items: Sequence[str]) -> list[Answered]:
        """The scores of ``items``, each with how many of its answers have none."""
        answers = self.answers.get(cell, {})
        return [
            Average(
                self.cells[cell][item].get(metric),
                unscored=sum(scores.get(metric) is None for scores in answers[item]),
                asked=len(answers[item]),
            )
            if item in answers
            else self.cells[cell][item].get(metric)
            for item in items
        ]

    def side_by_side(
        self, cells: Sequence[Cell], metric: str, *, judged: bool = False
    ) -> dict[str, tuple[float | None, ...]]:
        """Items asked in all of ``cells``, with their score in each; null is unscored.

        Left out is what no answer has a score for although all of them came: there the metric is
        not defined, and says nothing of which answer is better. What a judge was asked for and
        did not score (``judged``) is defined, though nobody knows it.
        """
        first, *others = (self.cells.get(cell, {}) for cell in cells)
        found: dict[str, tuple[float | None, ...]] = {}
        for item, scores in first.items():
            if all(item in other for other in others):
                answers = [scores, *(other[item] for other in others)]
                values = tuple(answer.get(metric) for answer in answers)
                asked = judged and any(metric in answer for answer in answers)
                known = any(value is not None for value in values)
                if asked or known or not all(map(_came, answers)):
                    found[item] = values
        return found

    def labels(self, items: Sequence[str]) -> list[str]:
        return [self.clusters[item] for item in items]


def _came(scores: Scores) -> bool:
    return any(value is not None for value in scores.values())
