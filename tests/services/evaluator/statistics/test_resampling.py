"""Intervals and p-values, against scipy and statsmodels where they compute the same."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.regression.linear_model import OLS
from statsmodels.stats.weightstats import ttost_paired

from services.evaluator.statistics.bootstrap import interval, resampled_means
from services.evaluator.statistics.clusters import by_cluster
from services.evaluator.statistics.paired import Resampling, contrast, mean_interval
from services.evaluator.statistics.permutation import sign_flip_p

HOW = Resampling(resamples=10_000, permutations=10_000, seed=7)


def singletons(n: int) -> list[str]:
    return [f"item-{number}" for number in range(n)]


def documents(count: int, each: int) -> list[str]:
    return [f"doc-{number // each}" for number in range(count * each)]


def test_items_of_their_own_are_resampled_as_scipy_s_bootstrap_does() -> None:
    values = np.random.default_rng(1).gamma(2, 1, 400)
    ours = resampled_means(by_cluster(values, singletons(400)), resamples=20_000, seed=3)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(4)
    )
    assert ours.std() == pytest.approx(float(theirs.standard_error), rel=0.03)
    low, high = interval(ours, level=0.95, clusters=400)
    span = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * span)
    assert high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * span)


@pytest.mark.parametrize("count", [8, 15, 30])
def test_a_small_normal_sample_gets_student_s_interval(count: int) -> None:
    values = stats.norm.ppf((np.arange(count) + 0.5) / count)
    means = resampled_means(by_cluster(values, singletons(count)), resamples=50_000, seed=5)
    low, high = interval(means, level=0.95, clusters=count)
    student = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert low == pytest.approx(student.low, rel=0.06)
    assert high == pytest.approx(student.high, rel=0.06)


def test_the_standard_error_of_items_of_their_own_is_scipy_s() -> None:
    values = np.random.default_rng(2).normal(1, 3, 50)
    assert by_cluster(values, singletons(50)).standard_error == pytest.approx(stats.sem(values))


def test_the_standard_error_of_clusters_is_statsmodels_() -> None:
    generator = np.random.default_rng(4)
    sizes = [3, 9, 1, 20, 7, 5, 12, 2]
    labels = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    values = generator.normal(0, 1, len(sizes)).repeat(sizes) + generator.normal(0, 1, 59)
    theirs = OLS(values, np.ones(59)).fit(
        cov_type="cluster", cov_kwds={"groups": np.asarray(labels, dtype=int)}
    )
    assert by_cluster(values, labels).standard_error == pytest.approx(float(theirs.bse[0]))


def test_clusters_of_one_size_count_as_they_are_and_a_big_one_makes_them_fewer() -> None:
    assert by_cluster(np.zeros(60), documents(6, 10)).effective == pytest.approx(6)
    uneven = by_cluster(np.zeros(60), ["big"] * 50 + [str(n) for n in range(10)])
    assert uneven.effective == pytest.approx(60**2 / (50**2 + 10))


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.2, 0.3, 0.4])
def test_the_90_percent_interval_lies_inside_the_margin_where_two_one_sided_t_tests_say_so(
    shift: float,
) -> None:
    generator = np.random.default_rng(6)
    base = generator.normal(0, 1, 150)
    tuned = base + shift + generator.normal(0, 1, 150)
    low, high = contrast((tuned - base).tolist(), singletons(150), how=HOW).interval(0.9)
    p, _, _ = ttost_paired(tuned, base, -0.3, 0.3)
    assert abs(p - 0.05) > 0.005, "too close to call by resampling"
    assert (low > -0.3 and high < 0.3) == (p < 0.05)


def test_documents_of_unequal_size_weigh_by_their_items() -> None:
    data = by_cluster([1.0, 1.0, 1.0, 0.0], ["a", "a", "a", "b"])
    assert data.mean == 0.75
    assert set(np.round(resampled_means(data, resamples=500, seed=0), 2)) == {0.0, 0.75, 1.0}


@pytest.mark.parametrize("values", [[0.3, -0.1, 0.8, 0.2, 0.5, -0.4, 0.9], [1, 1, 0, -1, 1, 1, 0]])
def test_few_clusters_get_the_exact_p_that_scipy_finds(values: list[float]) -> None:
    ours = sign_flip_p(by_cluster(values, singletons(7)), permutations=1_000, seed=0)
    theirs = stats.permutation_test(
        (np.asarray(values),), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert ours == pytest.approx(theirs.pvalue)


def test_many_items_get_the_p_of_the_paired_t_test() -> None:
    generator = np.random.default_rng(3)
    base, tuned = generator.normal(0, 1, 200), generator.normal(0.15, 1, 200)
    ours = sign_flip_p(by_cluster(tuned - base, singletons(200)), permutations=50_000, seed=1)
    assert ours == pytest.approx(stats.ttest_rel(tuned, base).pvalue, abs=0.01)


def test_a_p_is_never_zero() -> None:
    p = sign_flip_p(by_cluster(np.ones(300), singletons(300)), permutations=10_000, seed=0)
    assert p == 1 / 10_001


def test_the_same_seed_gives_the_same_figures_and_another_one_does_not() -> None:
    data = by_cluster(np.random.default_rng(0).normal(0, 1, 300), documents(30, 10))
    once = resampled_means(data, resamples=1_000, seed=1)
    assert (once == resampled_means(data, resamples=1_000, seed=1)).all()
    assert (once != resampled_means(data, resamples=1_000, seed=2)).any()


def test_one_document_has_no_interval_but_the_whole_range() -> None:
    evidence = contrast([0.2, 0.4], ["a", "a"], how=HOW)
    assert evidence.interval(0.95) == (-1.0, 1.0)
    assert evidence.p == 1.0
    assert mean_interval([0.2, 0.4], ["a", "a"], how=HOW) == (pytest.approx(0.3), (0.2, 0.4))


@pytest.mark.parametrize(
    ("values", "labels"), [([], []), ([1.0], ["a", "b"]), ([float("nan")], ["a"])]
)
def test_what_is_not_paired_or_not_a_number_is_refused(
    values: list[float], labels: list[str]
) -> None:
    with pytest.raises(ValueError, match="value"):
        by_cluster(values, labels)
