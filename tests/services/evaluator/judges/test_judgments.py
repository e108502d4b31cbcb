"""Judgments sum up what was read; what was not is bounded, never guessed."""

import pytest

from services.evaluator.judges.criteria import BUILT_IN
from services.evaluator.judges.judgments import figure, judgment, unjudged

ACCURACY = BUILT_IN["accuracy"]


def test_ten_runs_have_a_mean_and_a_spread() -> None:
    made = judgment([4, 5, 4, 4, 5, 3, 4, 4, 4, 4], ACCURACY, 4.2)
    assert made.mean == made.low == made.high == 4.1
    assert made.spread == pytest.approx(0.5385, abs=1e-4)
    assert (made.runs, made.unparsable, made.weighted) == (10, 0, 4.2)


def test_an_unreadable_form_is_bounded_by_worst_and_best() -> None:
    made = judgment([4, None, 4, 4], ACCURACY, None)
    assert made.mean == 4.0
    assert (made.low, made.high) == (3.25, 4.25)
    assert made.unparsable == 1


def test_a_judgment_without_a_score_has_none() -> None:
    made = judgment([None, None], ACCURACY, None)
    assert made.mean is None
    assert made.spread is None
    assert (made.low, made.high) == (1.0, 5.0)


def test_figures_are_of_what_was_scored_and_bounded_by_what_was_not() -> None:
    judged = [
        judgment([5, 5], ACCURACY, 4.8),
        judgment([3, None], ACCURACY, None),
        unjudged(2, ACCURACY, "unavailable: away"),
    ]
    made = figure(judged, arm="rag", condition="retrieved", metric="accuracy")
    assert (made.n, made.unscored) == (2, 1)
    assert made.mean == 4.0
    assert made.weighted == 4.8
    assert made.unparsable == 0.5
    assert (made.low, made.high) == pytest.approx((8 / 3, 14 / 3))
