"""The cases a measurement must get right before any verdict of it may be believed."""

import numpy as np
import pytest
from scipy import stats

from services.common.contracts.evaluator import Verdict
from services.evaluator.statistics.clusters import Floats
from services.evaluator.statistics.multiplicity import Corrected
from services.evaluator.statistics.paired import Contrast, Resampling, contrast
from services.evaluator.statistics.scales import ONE_TO_FIVE, UNIT, Scale
from services.evaluator.verdict import decide

HOW = Resampling(resamples=10_000, permutations=10_000, seed=0)
EXPERIMENTS = 1_000
ERROR = 3 * np.sqrt(0.05 * 0.95 / EXPERIMENTS)  # three standard errors of a share of 5 %
ALONE = [str(number) for number in range(300)]
DOCUMENTS = [str(number // 10) for number in range(300)]
ROWS_FOOLED = {0.0: 0.055, 0.05: 0.10, 0.1: 0.15, 0.3: 0.30}


def judge(
    differences: Floats, labels: list[str], scale: Scale, how: Resampling = HOW
) -> tuple[Verdict, Contrast]:
    evidence = contrast(differences.tolist(), labels, how=how, bound=scale.width)
    decision = decide(
        evidence,
        Corrected(evidence.p, 0.05),
        margin=scale.margin,
        alpha=0.05,
        higher_is_better=True,
    )
    return decision.verdict, evidence


def judged(mean: float, generator: np.random.Generator) -> Floats:
    """300 scores from 1 to 5 whose mean is ``mean``, as near as whole scores allow."""
    scores = np.clip(np.round(generator.normal(mean, 0.9, 300)), 1, 5)
    while abs(scores.mean() - mean) > 1 / 300:
        step = np.sign(mean - scores.mean())
        movable = np.flatnonzero((scores + step >= 1) & (scores + step <= 5))
        scores[generator.choice(movable)] += step
    return scores


def noise(generator: np.random.Generator, icc: float) -> Floats:
    """300 differences of variance 1 in 30 documents that correlate ``icc`` within."""
    shared = generator.normal(0, np.sqrt(icc), 30).repeat(10)
    return shared + generator.normal(0, np.sqrt(1 - icc), 300)


@pytest.mark.parametrize("labels", [ALONE, DOCUMENTS], ids=["alone", "documents"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("before", "after", "expected"), [(4.08, 3.05, "HURTS"), (3.05, 4.08, "HELPS")]
)
def test_judge_scores_that_move_by_one_are_told(
    before: float, after: float, expected: Verdict, seed: int, labels: list[str]
) -> None:
    generator = np.random.default_rng(seed)
    base, tuned = judged(before, generator), judged(after, generator)
    assert (base.mean(), tuned.mean()) == pytest.approx((before, after), abs=0.01)
    assert judge(tuned - base, labels, ONE_TO_FIVE)[0] == expected


@pytest.mark.parametrize("labels", [ALONE, DOCUMENTS], ids=["alone", "documents"])
def test_a_pass_threshold_does_not_hide_a_fall_by_one(labels: list[str]) -> None:
    generator = np.random.default_rng(11)
    base, tuned = judged(4.08, generator), judged(3.05, generator)
    passed = (tuned >= 3.5).astype(float) - (base >= 3.5)
    assert judge(passed, labels, UNIT)[0] == "HURTS"


@pytest.mark.parametrize("labels", [ALONE, DOCUMENTS], ids=["alone", "documents"])
def test_a_pass_rate_that_rises_from_46_to_80_percent_helps(labels: list[str]) -> None:
    generator = np.random.default_rng(12)
    base = generator.permutation(np.repeat([1.0, 0.0], [138, 162]))
    tuned = generator.permutation(np.repeat([1.0, 0.0], [240, 60]))
    verdict, evidence = judge(tuned - base, labels, UNIT)
    assert evidence.estimate == pytest.approx(0.34)
    assert verdict == "HELPS"


@pytest.mark.parametrize("items", [1, 5, 30, 300])
@pytest.mark.parametrize("labels", [ALONE, DOCUMENTS], ids=["alone", "documents"])
def test_identical_runs_are_equivalent(labels: list[str], items: int) -> None:
    verdict, evidence = judge(np.zeros(items), labels[:items], UNIT)
    assert (verdict, evidence.p, evidence.estimate) == ("EQUIVALENT", 1.0, 0.0)


@pytest.mark.parametrize("icc", ROWS_FOOLED)
def test_without_an_effect_verdicts_keep_their_level_and_intervals_cover_the_truth(
    icc: float,
) -> None:
    generator = np.random.default_rng(13)
    how = Resampling(resamples=1_000, permutations=1_000, seed=0)
    false = covered = 0
    for _ in range(EXPERIMENTS):
        verdict, evidence = judge(noise(generator, icc), DOCUMENTS, UNIT, how)
        false += verdict in ("HELPS", "HURTS")
        low, high = evidence.interval(0.95)
        covered += low <= 0 <= high
    assert false / EXPERIMENTS <= 0.05 + ERROR
    assert 0.93 <= covered / EXPERIMENTS <= 0.97


@pytest.mark.parametrize(("icc", "share"), ROWS_FOOLED.items())
def test_a_wilcoxon_test_on_rows_is_fooled_by_the_same_documents(icc: float, share: float) -> None:
    generator = np.random.default_rng(14)
    drawn = np.stack([noise(generator, icc) for _ in range(EXPERIMENTS)])
    fooled = (stats.wilcoxon(drawn, axis=1).pvalue <= 0.05).mean()
    assert fooled == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / EXPERIMENTS))


@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_intervals_of_yes_or_no_in_uneven_documents_cover_the_truth_too(rate: float) -> None:
    sizes = np.maximum(1, np.round(70 / np.arange(1, 31) ** 0.8)).astype(int)
    labels = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    generator, how = np.random.default_rng(15), Resampling(1_000, 1_000, seed=0)
    cut, after = stats.norm.isf(rate), stats.norm.isf(rate - 0.1)
    covered = 0
    for _ in range(EXPERIMENTS):
        latent = generator.normal(0, np.sqrt(0.2), (2, len(sizes))).repeat(sizes, axis=1)
        latent += generator.normal(0, np.sqrt(0.8), latent.shape)
        differences = (latent[1] > after).astype(float) - (latent[0] > cut)
        low, high = contrast(differences.tolist(), labels, how=how).interval(0.95)
        covered += low <= -0.1 <= high
    assert 0.93 <= covered / EXPERIMENTS <= 0.97
