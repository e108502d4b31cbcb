"""Answers beside each other, and what is unscored among them."""

from services.common.contracts.generator import Condition
from services.evaluator.scores import Scores, ScoreTable

BASE: tuple[str, Condition] = ("base", "retrieved")
TUNED: tuple[str, Condition] = ("qa", "retrieved")


def table(base: dict[str, Scores], tuned: dict[str, Scores]) -> ScoreTable:
    return ScoreTable(clusters={}, cells={BASE: base, TUNED: tuned})


def test_an_answer_that_never_came_is_unscored_beside_one_that_did() -> None:
    found = table({"i": {"f1": 0.5}, "j": {"f1": None}}, {"i": {"f1": None}, "j": {"f1": None}})
    assert found.side_by_side([BASE, TUNED], "f1") == {"i": (0.5, None), "j": (None, None)}


def test_where_a_metric_is_not_defined_for_either_answer_nothing_is_unscored() -> None:
    came: Scores = {"f1": 0.5, "groundedness": None}
    assert table({"i": came}, {"i": came}).side_by_side([BASE, TUNED], "groundedness") == {}


def test_an_item_that_one_arm_was_not_asked_is_no_pair() -> None:
    found = table({"i": {"f1": 0.5}, "j": {"f1": 0.1}}, {"j": {"f1": 0.2}})
    assert found.side_by_side([BASE, TUNED], "f1") == {"j": (0.1, 0.2)}
    assert found.side_by_side([BASE, ("other", "retrieved")], "f1") == {}
