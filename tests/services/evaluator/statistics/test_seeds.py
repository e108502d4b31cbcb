"""Several trainings of one recipe: what may be said of the next one."""

import numpy as np
import pytest
from scipy import stats

from services.evaluator.statistics.multiplicity import Corrected
from services.evaluator.statistics.paired import Resampling, contrast
from services.evaluator.statistics.seeds import SeedContrast, over_seeds
from services.evaluator.verdict import decide

HOW = Resampling(resamples=2_000, permutations=1_000, seed=0)
LABELS = [str(number // 5) for number in range(150)]


def trained(
    generator: np.random.Generator, *, seeds: int, effect: float, luck: float
) -> np.ndarray:
    """Differences of shape (seeds, 150): an effect, each training's luck, documents, items."""
    documents = generator.normal(0, 0.3, 30).repeat(5)
    own = generator.normal(0, luck, (seeds, 1))
    return effect + own + documents + generator.normal(0, 1, (seeds, 150))


def weigh(differences: np.ndarray, how: Resampling = HOW) -> SeedContrast:
    return over_seeds(differences.tolist(), LABELS, how=how, bound=10)


@pytest.mark.parametrize(("seeds", "luck"), [(2, 0.5), (3, 0.0), (3, 0.1), (3, 0.5), (5, 0.5)])
def test_the_next_training_s_truth_is_covered_whatever_luck_trainings_have(
    seeds: int, luck: float
) -> None:
    generator = np.random.default_rng(seeds)
    how = Resampling(resamples=400, permutations=200, seed=1)
    experiments, covered, false = 300, 0, 0
    for _ in range(experiments):
        found = weigh(trained(generator, seeds=seeds, effect=0.0, luck=luck), how)
        low, high = found.interval(0.95)
        covered += low <= 0 <= high
        false += found.p <= 0.05
    error = 3 * np.sqrt(0.05 * 0.95 / experiments)
    # Never less sure than said; a few seeds make it more careful than it need be.
    assert covered / experiments >= 0.95 - error
    assert false / experiments <= 0.05 + error


def test_one_lucky_training_would_be_believed_too_often() -> None:
    generator = np.random.default_rng(8)
    believed = 0
    for _ in range(200):
        one = trained(generator, seeds=1, effect=0.0, luck=0.5)[0]
        low, high = contrast(one.tolist(), LABELS, how=HOW, bound=10).interval(0.95)
        believed += low > 0 or high < 0
    assert believed > 60


def test_an_effect_larger_than_the_luck_of_five_trainings_helps() -> None:
    found = weigh(trained(np.random.default_rng(2), seeds=5, effect=1.0, luck=0.2))
    assert len(found.by_seed) == 5
    assert np.mean(found.by_seed) == pytest.approx(found.estimate)
    decision = decide(
        found, Corrected(found.p, 0.05), margin=0.05, alpha=0.05, higher_is_better=True
    )
    assert decision.verdict == "HELPS"


def test_two_seeds_of_opposite_luck_say_that_no_number_of_items_would_do() -> None:
    differences = trained(np.random.default_rng(4), seeds=2, effect=0.1, luck=0.0)
    differences += np.array([[0.8], [-0.8]])
    found = weigh(differences)
    decision = decide(
        found, Corrected(found.p, 0.05), margin=0.05, alpha=0.05, higher_is_better=True
    )
    assert (decision.verdict, decision.n_needed) == ("INCONCLUSIVE", None)


def test_seeds_that_agree_in_every_item_leave_the_error_of_the_documents() -> None:
    one = trained(np.random.default_rng(3), seeds=1, effect=0.2, luck=0.0)[0]
    found = weigh(np.stack([one, one, one]))
    alone = contrast(one.tolist(), LABELS, how=HOW, bound=10)
    assert found.standard_error == pytest.approx(alone.standard_error)
    assert found.interval(0.95) == pytest.approx(alone.interval(0.95), abs=0.03)


def test_where_documents_differ_in_nothing_it_is_a_t_test_on_the_seeds() -> None:
    means = np.array([0.1, 0.5, 0.3, 0.2])
    found = weigh(np.repeat(means[:, None], 150, axis=1))
    theirs = stats.ttest_1samp(means, 0)
    assert found.standard_error == pytest.approx(stats.sem(means))
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-6)


def test_identical_runs_of_all_seeds_are_equivalent() -> None:
    found = weigh(np.zeros((3, 150)))
    assert (found.identical, found.p, found.interval(0.95)) == (True, 1.0, (0.0, 0.0))
    decision = decide(
        found, Corrected(found.p, 0.05), margin=0.05, alpha=0.05, higher_is_better=True
    )
    assert decision.verdict == "EQUIVALENT"


def test_one_seed_says_nothing_of_the_others() -> None:
    with pytest.raises(ValueError, match="two training seeds"):
        over_seeds([[0.1, 0.2]], ["a", "b"], how=HOW)
    assert over_seeds([[0.1], [0.3]], ["a"], how=HOW).interval(0.95) == (-1.0, 1.0)
