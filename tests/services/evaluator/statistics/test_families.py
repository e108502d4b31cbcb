"""Corrections, exact tests and power, against statsmodels and by simulation."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from services.evaluator.statistics.binary import flips
from services.evaluator.statistics.multiplicity import benjamini_hochberg, holm
from services.evaluator.statistics.power import items_needed

P = [0.001, 0.04, 0.02, 0.9, 0.011]


def test_holm_s_p_is_statsmodels_and_its_level_that_of_the_step() -> None:
    corrected = holm(P, alpha=0.05)
    assert [c.p for c in corrected] == pytest.approx(multipletests(P, method="holm")[1])
    assert corrected[0].alpha == pytest.approx(0.05 / 5)
    assert corrected[4].alpha == pytest.approx(0.05 / 4)


def test_holm_rejects_exactly_what_is_below_the_level_of_its_interval() -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        p_values = list(generator.beta(0.3, 2, 8))
        for p, corrected in zip(p_values, holm(p_values, alpha=0.05), strict=True):
            assert (p <= corrected.alpha + 1e-12) == (corrected.p <= 0.05 + 1e-12)


def test_benjamini_and_hochberg_s_p_is_statsmodels_() -> None:
    corrected = benjamini_hochberg(P, alpha=0.05)
    assert [c.p for c in corrected] == pytest.approx(multipletests(P, method="fdr_bh")[1])
    assert [c.alpha for c in corrected] == pytest.approx([0.05 * 4 / 5] * 5)


def test_no_comparisons_need_no_correction() -> None:
    assert holm([], alpha=0.05) == []
    assert benjamini_hochberg([], alpha=0.05) == []


def test_flips_are_counted_and_tested_as_statsmodels_does() -> None:
    base = [1] * 30 + [0] * 20
    tuned = [1] * 18 + [0] * 12 + [1] * 3 + [0] * 17
    found = flips(base, tuned)
    assert (found.gained, found.lost) == (3, 12)
    assert found.p == pytest.approx(float(mcnemar([[18, 12], [3, 17]], exact=True).pvalue))
    assert flips([1, 0], [1, 0]).p == 1.0


def test_the_items_needed_are_those_of_a_paired_t_test() -> None:
    n, deviation, diff = 100, 1.0, 0.15
    needed = items_needed(
        n=n, standard_error=deviation / np.sqrt(n), diff=diff, margin=0.05, alpha=0.05
    )
    theirs = TTestPower().solve_power(effect_size=diff / deviation, alpha=0.05, power=0.8)
    assert needed == pytest.approx(theirs, rel=0.02)


def test_where_a_difference_is_small_equivalence_is_what_would_settle_it() -> None:
    common = {"n": 100, "standard_error": 0.04, "margin": 0.05, "alpha": 0.05}
    tiny = items_needed(diff=0.001, **common)  # type: ignore[arg-type]
    assert tiny is not None
    assert tiny == items_needed(diff=-0.001, **common)  # type: ignore[arg-type]
    assert 400 < tiny < 1_000
    assert items_needed(n=100, standard_error=0.0, diff=0.1, margin=0.05, alpha=0.05) is None


def test_as_many_items_as_needed_do_settle_it_four_times_in_five() -> None:
    needed = items_needed(n=100, standard_error=0.1, diff=0.2, margin=0.05, alpha=0.05)
    assert needed is not None
    generator = np.random.default_rng(9)
    samples = generator.normal(0.2, 1, (2_000, needed))
    z = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / np.sqrt(needed))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.03)
