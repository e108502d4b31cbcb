"""What a run can find, against statsmodels and by simulation."""

import numpy as np
import pytest
from statsmodels.stats.power import TTestPower

from services.evaluator.statistics.clusters import by_cluster
from services.evaluator.statistics.permutation import sign_flip_p
from services.evaluator.statistics.power import design_effect, items_needed, smallest_effect
from services.evaluator.statistics.scales import ONE_TO_FIVE, UNIT, scale_of


def test_the_smallest_effect_of_items_of_their_own_is_a_paired_t_test_s() -> None:
    found = smallest_effect([1] * 80, deviation=2.0, icc=0.3)
    theirs = TTestPower().solve_power(nobs=80, alpha=0.05, power=0.8)
    assert found == pytest.approx(2.0 * theirs, rel=0.01)


def test_an_effect_of_the_smallest_size_is_found_four_times_in_five() -> None:
    sizes, icc = [4, 8, 12, 16, 10] * 6, 0.2
    effect = smallest_effect(sizes, deviation=1.0, icc=icc)
    labels = [str(number) for number, size in enumerate(sizes) for _ in range(size)]
    generator = np.random.default_rng(3)
    found = 0
    for seed in range(400):
        shared = generator.normal(effect, np.sqrt(icc), len(sizes)).repeat(sizes)
        data = by_cluster(shared + generator.normal(0, np.sqrt(1 - icc), len(labels)), labels)
        found += sign_flip_p(data, permutations=1_000, seed=seed) <= 0.05
    assert found / 400 == pytest.approx(0.8, abs=3 * np.sqrt(0.8 * 0.2 / 400))


def test_documents_that_agree_within_are_worth_fewer_items() -> None:
    assert design_effect([10] * 30, 0.0) == 1
    assert design_effect([10] * 30, 0.1) == pytest.approx(1.9)
    assert design_effect([1, 19], 0.1) > design_effect([10, 10], 0.1)
    apart = smallest_effect([10] * 30, deviation=1.0, icc=0.0)
    together = smallest_effect([10] * 30, deviation=1.0, icc=0.3)
    assert apart is not None
    assert together == pytest.approx(apart * np.sqrt(3.7))


def test_a_larger_family_needs_a_larger_effect_and_five_documents_find_none() -> None:
    one = smallest_effect([5] * 20, deviation=1.0, family=1)
    many = smallest_effect([5] * 20, deviation=1.0, family=12)
    assert one is not None
    assert many is not None
    assert many > 1.3 * one
    assert smallest_effect([100] * 5, deviation=1.0) is None
    assert smallest_effect([100] * 8, deviation=1.0) is not None
    assert smallest_effect([100] * 8, deviation=1.0, family=12) is None
    assert smallest_effect([100] * 6, deviation=1.0, alpha=0.01) is None


def test_what_no_run_can_have_is_refused() -> None:
    for sizes, deviation, icc in (([0] * 9, 1.0, 0.1), ([9] * 9, -1.0, 0.1), ([9] * 9, 1.0, 1.1)):
        with pytest.raises(ValueError, match="at least 1"):
            smallest_effect(sizes, deviation=deviation, icc=icc)


def test_margins_go_with_the_scale() -> None:
    assert scale_of(1, 5) is ONE_TO_FIVE
    assert scale_of(0, 1) is UNIT
    assert (ONE_TO_FIVE.margin, UNIT.margin) == (0.25, 0.05)
    assert scale_of(0, 100).margin == pytest.approx(5)
    with pytest.raises(ValueError, match="end above"):
        scale_of(1, 1)


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


def test_equivalence_at_another_level_takes_other_items() -> None:
    common = {"n": 100, "standard_error": 0.1, "diff": 0.001, "margin": 0.05, "alpha": 0.05}
    strict = items_needed(**common, equivalence_alpha=0.01)  # type: ignore[arg-type]
    usual = items_needed(**common)  # type: ignore[arg-type]
    assert strict is not None
    assert usual is not None
    # Normal deviations of 2.33 and 1.28 in place of 1.64 and 1.28.
    assert strict / usual == pytest.approx((3.608 / 2.926) ** 2, rel=0.01)


def test_as_many_items_as_needed_do_settle_it_four_times_in_five() -> None:
    needed = items_needed(n=100, standard_error=0.1, diff=0.2, margin=0.05, alpha=0.05)
    assert needed is not None
    generator = np.random.default_rng(9)
    samples = generator.normal(0.2, 1, (2_000, needed))
    z = samples.mean(axis=1) / (samples.std(axis=1, ddof=1) / np.sqrt(needed))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(0.8, abs=0.03)
