"""The scores of an experiment's answers, as its analysis asks for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from services.common.contracts.generator import Condition

Scores = Mapping[str, float | None]


@dataclass(frozen=True)
class ScoreTable:
    """Scores of all answers: by arm and condition, then item, then metric; null is unscored.

    ``cells`` are means over an item's repeats and an arm's trainings; ``trainings`` has each
    training by itself, of the arms that were trained from several seeds; ``spreads`` how far the
    repeats of an item differ, by metric.
    """

    clusters: Mapping[str, str]
    cells: Mapping[tuple[str, Condition], Mapping[str, Scores]]
    trainings: Mapping[tuple[str, Condition], Sequence[Mapping[str, Scores]]] = field(
        default_factory=dict
    )
    spreads: Mapping[tuple[str, Condition], Mapping[str, float]] = field(default_factory=dict)

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

        Empty for an arm of one training.
        """
        scored = [
            {item: value for item in items if (value := cell.get(item, {}).get(metric)) is not None}
            for cell in self.trainings.get((arm, condition), ())
        ]
        return [
            {item: scores[item] for item in scores if all(item in other for other in scored)}
            for scores in scored
        ]

    def side_by_side(
        self, cells: Sequence[tuple[str, Condition]], metric: str, *, judged: bool = False
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
