"""What must hold of any scores whatever."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.contracts.evaluator import Verdict
from services.evaluator.statistics.binary import flips
from services.evaluator.statistics.missing import bounds
from services.evaluator.statistics.multiplicity import Corrected, benjamini_hochberg, holm
from services.evaluator.statistics.paired import Contrast, Resampling, contrast
from services.evaluator.statistics.seeds import over_seeds
from services.evaluator.verdict import Decision, decide

HOW = Resampling(resamples=1_000, permutations=1_000, seed=3)
MIRRORED: dict[Verdict, Verdict] = {"HELPS": "HURTS", "HURTS": "HELPS"}

Row = tuple[float, float, str]
SCORES = st.one_of(st.sampled_from([0.0, 1.0]), st.integers(0, 20).map(lambda n: n / 20))
ROWS = st.lists(
    st.tuples(SCORES, SCORES, st.sampled_from([f"doc-{n}" for n in range(25)])),
    min_size=1,
    max_size=80,
)
P_VALUES = st.lists(st.floats(1e-6, 1), min_size=1, max_size=20)


def judge(rows: list[Row]) -> tuple[Decision, Contrast]:
    labels = [label for _, _, label in rows]
    evidence = contrast([after - before for before, after, _ in rows], labels, how=HOW)
    corrected = Corrected(evidence.p, 0.05)
    return decide(evidence, corrected, margin=0.05, alpha=0.05, higher_is_better=True), evidence


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_changing_sides_mirrors_the_verdict(rows: list[Row]) -> None:
    decision, evidence = judge(rows)
    mirrored, swapped = judge([(after, before, label) for before, after, label in rows])
    assert mirrored.verdict == MIRRORED.get(decision.verdict, decision.verdict)
    assert mirrored.n_needed == decision.n_needed
    assert swapped.p == evidence.p
    low, high = evidence.interval(0.95)
    assert swapped.interval(0.95) == pytest.approx((-high, -low), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms())
def test_the_order_of_items_is_of_no_account(rows: list[Row], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(rows)
    random.shuffle(shuffled)
    (one, evidence), (other, again) = judge(rows), judge(shuffled)
    assert one.verdict == other.verdict
    assert abs(evidence.p - again.p) < 1e-12
    assert abs(evidence.estimate - again.estimate) < 1e-9


@settings(max_examples=40, deadline=None)
@given(ROWS)
def test_a_verdict_goes_the_way_of_the_difference_and_identical_runs_have_none(
    rows: list[Row],
) -> None:
    decision, evidence = judge(rows)
    if decision.verdict in ("HELPS", "HURTS"):
        assert (decision.verdict == "HELPS") == (evidence.estimate > 0)
    same, _ = judge([(before, before, label) for before, _, label in rows])
    assert same.verdict == "EQUIVALENT"


@settings(max_examples=40, deadline=None)
@given(ROWS, st.data())
def test_what_was_unscored_lies_within_its_bounds(rows: list[Row], data: st.DataObject) -> None:
    hidden = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))
    found = bounds(
        [before for before, _, _ in rows],
        [None if n in hidden else after for n, (_, after, _) in enumerate(rows)],
        [label for _, _, label in rows],
        low=0,
        high=1,
        how=HOW,
    )
    assert found is not None
    low, high = found.of_mean
    _, evidence = judge(rows)
    assert low - 1e-9 <= evidence.estimate <= high + 1e-9


@given(P_VALUES)
def test_holm_is_never_kinder_than_the_p_itself_or_than_benjamini_and_hochberg(
    p_values: list[float],
) -> None:
    strict, lenient = holm(p_values, alpha=0.05), benjamini_hochberg(p_values, alpha=0.05)
    for p, one, other in zip(p_values, strict, lenient, strict=True):
        assert p - 1e-12 <= other.p <= one.p + 1e-12 <= 1 + 1e-12
        assert 0.05 / len(p_values) - 1e-12 <= one.alpha <= 0.05 + 1e-12


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1))
def test_flips_mirror_too(pairs: list[tuple[float, float]]) -> None:
    base, tuned = [b for b, _ in pairs], [t for _, t in pairs]
    one, other = flips(base, tuned), flips(tuned, base)
    assert (one.gained, one.lost) == (other.lost, other.gained)
    assert abs(one.p - other.p) < 1e-12


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 5), st.integers(1, 40), st.randoms(use_true_random=False))
def test_trainings_mirror_as_one_does(seeds: int, items: int, random) -> None:  # type: ignore[no-untyped-def]
    labels = [str(random.randrange(12)) for _ in range(items)]
    differences = [[random.choice((-1.0, 0.0, 1.0)) for _ in labels] for _ in range(seeds)]
    found = over_seeds(differences, labels, how=HOW)
    mirrored = over_seeds([[-x for x in row] for row in differences], labels, how=HOW)
    low, high = found.interval(0.95)
    assert mirrored.interval(0.95) == pytest.approx((-high, -low), abs=1e-9)
    assert mirrored.p == pytest.approx(found.p)
    assert low <= found.estimate <= high
    assert 0 < found.p <= 1
