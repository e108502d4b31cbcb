"""A judge that passed its exam, among answers as they are."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.common.contracts.judge import Judgment
from services.evaluator.judges.field import FEWEST, field_figure, field_warning


@dataclass(frozen=True)
class Answer:
    item_id: str
    scores: Mapping[str, float | None]
    judgments: Mapping[str, Judgment] | None


def judgment(mean: float | None) -> Judgment:
    return Judgment(
        runs=1,
        scores=[],
        unparsable=int(mean is None),
        mean=mean,
        spread=0.0,
        low=1.0 if mean is None else mean,
        high=5.0 if mean is None else mean,
        weighted=None,
        error=None,
    )


def answers(count: int, opinion: Callable[[bool], float | None]) -> list[Answer]:
    """Every third holds the reference."""
    return [
        Answer(
            f"i{n}",
            {"contains_answer": float(n % 3 == 0)},
            {"accuracy": judgment(opinion(n % 3 == 0))},
        )
        for n in range(count)
    ]


CLUSTERS = {f"i{n}": f"d{n // 2}" for n in range(600)}


def test_one_that_sees_what_is_right_is_believed() -> None:
    figure = field_figure("base", answers(60, lambda right: 5.0 if right else 2.0), CLUSTERS)
    assert figure is not None
    assert (figure.right, figure.wrong, figure.auc.value) == (20, 40, 1.0)
    assert field_warning(figure, 0.8) is None


def test_one_that_is_at_a_loss_is_told_whatever_its_exam_said() -> None:
    dice = random.Random(0)
    figure = field_figure("base", answers(600, lambda _: dice.choice([1.0, 3.0, 5.0])), CLUSTERS)
    assert figure is not None
    assert figure.auc.ci95 is not None
    assert figure.auc.ci95[0] < 0.5 < figure.auc.ci95[1]
    warning = field_warning(figure, 0.8)
    assert warning is not None
    assert "answers of base" in warning
    assert "the 200 that hold the reference's words from the 400 that do not" in warning


def test_from_few_right_answers_nothing_is_said() -> None:
    def sure(right: bool) -> float:
        return 5.0 if right else 1.0

    assert field_figure("base", answers(3 * FEWEST - 3, sure), CLUSTERS) is None
    assert field_figure("base", answers(3 * FEWEST, sure), CLUSTERS) is not None


def test_what_is_unscored_or_was_never_judged_is_left_out() -> None:
    some = answers(60, lambda right: 5.0 if right else None)
    assert field_figure("base", some, CLUSTERS) is None
    unjudged = [Answer(one.item_id, one.scores, None) for one in some]
    assert field_figure("base", unjudged, CLUSTERS) is None
