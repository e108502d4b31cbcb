"""Corrections and exact tests, against statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from services.evaluator.statistics.binary import flips
from services.evaluator.statistics.multiplicity import benjamini_hochberg, holm

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
