"""What is unscored is bounded, and decides nothing in silence."""

import numpy as np
import pytest

from services.evaluator.statistics.missing import Average, bounds
from services.evaluator.statistics.multiplicity import Corrected
from services.evaluator.statistics.paired import Resampling, contrast
from services.evaluator.verdict import Decision, decide

HOW = Resampling(resamples=2_000, permutations=2_000, seed=0)
Scores = list[float | None]


def judge(base: Scores, tuned: Scores, *, better: bool = True) -> Decision:
    labels = [str(number) for number in range(len(base))]
    scored = [
        (label, b, t)
        for label, b, t in zip(labels, base, tuned, strict=True)
        if b is not None and t is not None
    ]
    evidence = contrast([t - b for _, b, t in scored], [label for label, _, _ in scored], how=HOW)
    return decide(
        evidence,
        Corrected(evidence.p, 0.05),
        margin=0.05,
        alpha=0.05,
        higher_is_better=better,
        bounds=bounds(base, tuned, labels, low=0, high=1, how=HOW),
    )


def answers(share_right: float, n: int = 300) -> Scores:
    """Zeros and ones in an order that goes with nothing."""
    right = np.repeat([1.0, 0.0], [round(share_right * n), n - round(share_right * n)])
    return [float(x) for x in np.random.default_rng(round(share_right * 100)).permutation(right)]


def test_bounds_give_every_missing_score_its_worst_and_its_best() -> None:
    found = bounds(
        [1.0, None, 0.5, None], [0.5, 0.5, None, None], list("abcd"), low=0, high=1, how=HOW
    )
    assert found is not None
    assert found.unscored == 4
    worst = [-0.5, 0.5 - 1, 0 - 0.5, -1]
    best = [-0.5, 0.5 - 0, 1 - 0.5, 1]
    assert found.of_mean == (pytest.approx(np.mean(worst)), pytest.approx(np.mean(best)))


def test_of_an_average_only_the_unscored_share_is_given_the_ends() -> None:
    half, whole = Average(0.8, unscored=2, asked=4), Average(0.8, unscored=0, asked=4)
    found = bounds([1.0, 1.0], [half, whole], ["a", "b"], low=0, high=1, how=HOW)
    assert found is not None
    assert found.unscored == 2
    assert found.low == pytest.approx([0.4 - 1, 0.8 - 1])
    assert found.high == pytest.approx([0.9 - 1, 0.8 - 1])


def test_where_all_is_scored_there_is_nothing_to_bound() -> None:
    assert bounds([0.0], [1.0], ["a"], low=0, high=1, how=HOW) is None


def test_a_few_missing_scores_leave_a_clear_verdict_as_it_is() -> None:
    base, tuned = answers(0.46), answers(0.80)
    tuned[:5] = [None] * 5
    assert judge(base, tuned) == Decision("HELPS")


def test_a_verdict_that_only_just_survives_its_worst_case_says_so() -> None:
    base, tuned = answers(0.46), answers(0.66)
    tuned[:60] = [None] * 60
    decision = judge(base, tuned)
    assert decision.verdict == "HELPS"
    assert "60 unscored answers" in decision.notes[-1]
    assert "would be INCONCLUSIVE" in decision.notes[-1]


@pytest.mark.parametrize(("better", "alone"), [(True, "HELPS"), (False, "HURTS")])
def test_a_verdict_that_the_unscored_could_turn_round_is_none(better: bool, alone: str) -> None:
    base, tuned = answers(0.46), answers(0.80)
    tuned[:180] = [None] * 180
    decision = judge(base, tuned, better=better)
    assert decision.verdict == "INCONCLUSIVE"
    assert f"those that are scored alone would be {alone}" in decision.notes[-1]


def test_identical_answers_are_not_equivalent_while_many_are_unscored() -> None:
    base = answers(0.5)
    tuned: Scores = [None if n < 60 else score for n, score in enumerate(base)]
    decision = judge(base, tuned)
    assert decision.verdict == "INCONCLUSIVE"
    assert "EQUIVALENT" in decision.notes[-1]


def test_equivalence_that_few_unscored_answers_could_blur_carries_a_note() -> None:
    base = answers(0.5)
    tuned: Scores = [None if n < 24 else score for n, score in enumerate(base)]
    decision = judge(base, tuned)
    assert decision.verdict == "EQUIVALENT"
    assert "24 unscored answers" in decision.notes[-1]
