"""Few answers that change, out of not many: what resampling cannot see."""

from collections import Counter

import numpy as np
import pytest
from scipy.stats import binomtest

from services.evaluator.statistics.clusters import by_cluster
from services.evaluator.statistics.multiplicity import Corrected
from services.evaluator.statistics.paired import Resampling, contrast
from services.evaluator.statistics.rare import Flipped, flipped_in
from services.evaluator.verdict import Decision, decide

HOW = Resampling(resamples=1_000, permutations=1_000, seed=0)


def judge(lost: int, gained: int, n: int, *, items: int = 1) -> Decision:
    """Of ``n`` documents of so many ``items`` that flip together."""
    differences = [-1.0] * lost + [1.0] * gained + [0.0] * (n - lost - gained)
    labels = [str(document) for document in range(n) for _ in range(items)]
    evidence = contrast([d for d in differences for _ in range(items)], labels, how=HOW)
    return decide(
        evidence,
        Corrected(evidence.p, 0.05),
        margin=0.05,
        alpha=0.05,
        higher_is_better=True,
    )


def test_what_only_one_side_loses_has_clopper_and_pearson_s_limit() -> None:
    low, high = Flipped(lost=1, gained=0, n=61, width=4).interval(0.90)
    exact = binomtest(1, 61).proportion_ci(0.90, method="exact")
    assert low == pytest.approx(-4 * exact.high)
    assert -4 / 61 < high < 4 * 0.05  # no gain was seen, and yet there could be some


def test_changing_sides_mirrors_the_limits() -> None:
    low, high = Flipped(3, 5, 90, 1).interval(0.9)
    assert Flipped(5, 3, 90, 1).interval(0.9) == pytest.approx((-high, -low))


def test_documents_that_flip_as_one_count_as_one() -> None:
    whole = [-1.0] * 10 + [0.0] * 600
    data = by_cluster(whole, [str(n // 10) for n in range(610)])
    found = flipped_in(whole, data, 1.0)
    assert found is not None
    assert [found.lost, found.n] == pytest.approx([1, 61])
    assert flipped_in([0.5, 0.0, -1.0], by_cluster([0.5, 0.0, -1.0], list("abc")), 1.0) is None


@pytest.mark.parametrize("items", [1, 10])
def test_one_loss_in_61_is_not_yet_equivalent(items: int) -> None:
    found = judge(1, 0, 61, items=items)
    assert found.verdict == "INCONCLUSIVE"
    assert found.n_needed is not None
    assert 80 * items < found.n_needed < 400 * items
    assert judge(1, 0, 100, items=items).verdict == "EQUIVALENT"


def test_losses_as_large_as_the_margin_are_rarely_equivalent() -> None:
    """A bootstrap alone says so of 20 in 100 such runs of 61 items."""
    drawn = Counter(int(lost) for lost in np.random.default_rng(5).binomial(61, 0.05, 2_000))
    wrong = sum(n for lost, n in drawn.items() if lost and judge(lost, 0, 61).verdict[0] == "E")
    assert wrong / 2_000 < 0.01  # identical runs aside, which are called so whatever may come


def test_where_many_flip_the_bootstrap_decides_as_before() -> None:
    differences = [-1.0] * 60 + [1.0] * 60 + [0.0] * 880
    evidence = contrast(differences, [str(n) for n in range(1_000)], how=HOW)
    assert evidence.equivalence(0.05) == pytest.approx(evidence.interval(0.90), abs=0.002)
    assert judge(60, 60, 1_000).verdict == "EQUIVALENT"
