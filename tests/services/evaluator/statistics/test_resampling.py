"""Intervals and p-values: against scipy where it computes the same, and by simulation."""

import numpy as np
import pytest
from scipy import stats

from services.evaluator.statistics.bootstrap import interval, resampled_means
from services.evaluator.statistics.clusters import by_cluster
from services.evaluator.statistics.paired import Resampling, contrast, mean_interval
from services.evaluator.statistics.permutation import sign_flip_p

HOW = Resampling(resamples=10_000, permutations=10_000, seed=7)


def singletons(n: int) -> list[str]:
    return [f"item-{number}" for number in range(n)]


def documents(count: int, each: int) -> list[str]:
    return [f"doc-{number // each}" for number in range(count * each)]


def clustered_noise(generator: np.random.Generator, icc: float) -> np.ndarray:
    """300 values of variance 1 in 30 documents that correlate ``icc`` within."""
    shared = generator.normal(0, np.sqrt(icc), 30).repeat(10)
    return shared + generator.normal(0, np.sqrt(1 - icc), 300)


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
    data = by_cluster(clustered_noise(np.random.default_rng(0), 0.1), documents(30, 10))
    once = resampled_means(data, resamples=1_000, seed=1)
    assert (once == resampled_means(data, resamples=1_000, seed=1)).all()
    assert (once != resampled_means(data, resamples=1_000, seed=2)).any()


@pytest.mark.parametrize("icc", [0.0, 0.05, 0.1, 0.3])
def test_intervals_cover_the_truth_and_p_keeps_its_level_whatever_documents_share(
    icc: float,
) -> None:
    generator = np.random.default_rng(20240611)
    labels, truth, covered, rejected, experiments = documents(30, 10), 0.1, 0, 0, 1_000
    for seed in range(experiments):
        noise = clustered_noise(generator, icc)
        data = by_cluster(truth + noise, labels)
        low, high = interval(
            resampled_means(data, resamples=2_000, seed=seed), level=0.95, clusters=30
        )
        covered += low <= truth <= high
        rejected += sign_flip_p(by_cluster(noise, labels), permutations=1_000, seed=seed) <= 0.05
    assert 0.93 <= covered / experiments <= 0.97
    # 5 % beyond sampling error: three standard errors of 1,000 draws.
    assert rejected / experiments <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / experiments)


def test_a_test_on_rows_would_be_fooled_by_the_same_documents() -> None:
    generator = np.random.default_rng(5)
    fooled = np.mean(
        [stats.wilcoxon(clustered_noise(generator, 0.3)).pvalue <= 0.05 for _ in range(300)]
    )
    assert fooled > 0.2


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
