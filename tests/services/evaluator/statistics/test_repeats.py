"""Repeats of one item are one score and a spread."""

import numpy as np
import pytest
from scipy import stats

from services.evaluator.statistics.repeats import over_repeats


def test_repeats_are_averaged_within_their_item_and_their_spread_is_pooled() -> None:
    scores = np.random.default_rng(0).normal(3, 1, (40, 10))
    found = over_repeats(scores.tolist())
    assert found.means == pytest.approx(list(scores.mean(axis=1)))
    # The mean square within groups of a one-way analysis of variance.
    within = np.sqrt(np.mean([stats.tvar(row) for row in scores]))
    assert found.spread == pytest.approx(within)
    assert found.unscored == 0


def test_an_unscored_repeat_is_left_out_and_counted() -> None:
    found = over_repeats([[4.0, None, 2.0], [None, None], [5.0]])
    assert found.means == [3.0, None, 5.0]
    assert found.spread == pytest.approx(np.sqrt(2))
    assert found.unscored == 3


def test_one_repeat_each_has_no_spread() -> None:
    assert over_repeats([[1.0], [2.0]]).spread is None
