"""A judge's figures, against scipy, statsmodels and scikit-learn's definitions."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.inter_rater import cohens_kappa

from services.evaluator.statistics.agreement import (
    length_bias,
    rank_agreement,
    roc_auc,
    weighted_kappa,
)


def exam(
    seed: int = 0, *, documents: int = 20, each: int = 8
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Known ranks 0 to 3 and the noisy scores of a fair judge, from 1 to 5, in documents."""
    generator = np.random.default_rng(seed)
    known = np.tile([0, 0, 1, 2, 3, 3, 0, 2], documents * each // 8)
    shared = generator.normal(0, 0.5, documents).repeat(each)
    scores = np.clip(np.round(1.5 + known + shared + generator.normal(0, 1, known.size)), 1, 5)
    return known, scores, [str(n // each) for n in range(known.size)]


@pytest.mark.parametrize("seed", range(5))
def test_rank_agreement_is_scipy_s_tau_b(seed: int) -> None:
    known, scores, clusters = exam(seed)
    found = rank_agreement(list(known), list(scores), clusters)
    assert found.value == pytest.approx(stats.kendalltau(known, scores).statistic)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert (found.n, found.clusters) == (160, 20)


def test_scores_without_ties_are_ranked_as_scipy_does_too() -> None:
    generator = np.random.default_rng(1)
    known, scores = generator.normal(size=60), generator.normal(size=60)
    found = rank_agreement(list(known), list(scores), [str(n) for n in range(60)])
    assert found.value == pytest.approx(stats.kendalltau(known, scores).statistic)


@pytest.mark.parametrize("seed", range(5))
def test_the_area_is_mann_and_whitney_s_u_over_its_pairs(seed: int) -> None:
    known, scores, clusters = exam(seed)
    right = known >= 2
    found = roc_auc(list(right), list(scores), clusters)
    u = stats.mannwhitneyu(scores[right], scores[~right]).statistic
    assert found.value == pytest.approx(u / (right.sum() * (~right).sum()))


def test_a_judge_that_says_the_same_of_everything_knows_nothing() -> None:
    known, _, clusters = exam()
    same = [3.0] * len(known)
    tau = rank_agreement(list(known), same, clusters)
    auc = roc_auc(list(known >= 2), same, clusters)
    assert (tau.value, tau.low, tau.high) == (0.0, 0.0, 0.0)
    assert (auc.value, auc.low, auc.high) == (0.5, 0.5, 0.5)


def test_a_judge_that_orders_the_wrong_way_round_is_told() -> None:
    known, _, clusters = exam()
    assert rank_agreement(list(known), list(-known), clusters).value == pytest.approx(-1)
    assert roc_auc(list(known >= 2), list(-known), clusters).value == 0


@pytest.mark.parametrize("weights", ["linear", "quadratic"])
def test_weighted_kappa_is_statsmodels_(weights: str) -> None:
    known, scores, _ = exam(3)
    people = np.clip(known + 1 + np.random.default_rng(4).integers(0, 2, known.size), 1, 5)
    alone = [str(n) for n in range(known.size)]
    found = weighted_kappa(
        list(people),
        list(scores),
        alone,
        categories=range(1, 6),
        weights=weights,  # type: ignore[arg-type]
    )
    table = np.zeros((5, 5))
    np.add.at(table, (people.astype(int) - 1, scores.astype(int) - 1), 1)
    theirs = cohens_kappa(table, wt=weights)
    assert found.value == pytest.approx(theirs.kappa)
    # Items of their own: the bootstrap's interval is the asymptotic one, but for its error.
    span = theirs.kappa_upp - theirs.kappa_low
    assert found.low == pytest.approx(theirs.kappa_low, abs=0.1 * span)
    assert found.high == pytest.approx(theirs.kappa_upp, abs=0.1 * span)


def test_a_mean_of_runs_counts_as_the_nearest_score_in_kappa() -> None:
    alone = [str(n) for n in range(5)]
    found = weighted_kappa(
        [1, 2, 3, 4, 5], [1.2, 1.9, 3.4, 4.1, 4.6], alone, categories=range(1, 6)
    )
    assert found.value == 1


def test_length_bias_is_the_slope_of_a_regression_with_levels_of_correctness() -> None:
    known, scores, clusters = exam(5)
    words = np.random.default_rng(6).integers(3, 60, known.size).astype(float) + 10 * known
    scores = scores + 0.02 * words
    found = length_bias(list(known), list(words), list(scores), clusters)
    levels = np.stack([known == level for level in np.unique(known)], axis=1).astype(float)
    theirs = OLS(scores, np.column_stack([words, levels])).fit()
    assert found is not None
    assert found.value == pytest.approx(theirs.params[0])
    assert found.low is not None
    assert found.low < 0.02 < (found.high or 0)


def test_answers_all_of_one_length_show_no_slope_rather_than_a_flat_one() -> None:
    known, scores, clusters = exam()
    assert length_bias(list(known), [7.3] * len(known), list(scores), clusters) is None


def test_intervals_cover_the_truth_although_questions_of_a_document_share_its_luck() -> None:
    experiments, covered = 300, 0
    truth = np.mean([_tau(10_000 + seed, documents=1_000) for seed in range(4)])
    for seed in range(experiments):
        known, scores, clusters = exam(seed)
        found = rank_agreement(list(known), list(scores), clusters, resamples=1_000, seed=seed)
        covered += (found.low or 0) <= truth <= (found.high or 0)
    assert covered / experiments == pytest.approx(0.95, abs=3 * np.sqrt(0.05 * 0.95 / experiments))


def _tau(seed: int, *, documents: int) -> float:
    known, scores, _ = exam(seed, documents=documents)
    return float(stats.kendalltau(known, scores).statistic)


def test_one_document_has_a_figure_and_no_interval() -> None:
    found = rank_agreement([1, 2, 3], [1, 2, 2], ["a"] * 3)
    assert (found.low, found.high) == (None, None)
    slope = length_bias([1, 1], [5, 10], [2, 3], ["a", "a"])
    assert slope is not None
    assert (slope.value, slope.low) == (pytest.approx(0.2), None)


def test_what_has_no_order_or_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="two ranks"):
        rank_agreement([1, 1], [2, 3], ["a", "b"])
    with pytest.raises(ValueError, match="right and wrong"):
        roc_auc([True, True], [2, 3], ["a", "b"])
    with pytest.raises(ValueError, match="finite"):
        rank_agreement([1, 2], [2, float("nan")], ["a", "b"])
    with pytest.raises(ValueError, match="cluster"):
        rank_agreement([1, 2], [2, 3], ["a"])
    with pytest.raises(ValueError, match="same answers"):
        rank_agreement([1, 2], [2, 3, 4], ["a", "b"])
