"""The rule, on the cases a measurement must get right."""

import numpy as np
import pytest
from scipy import stats

from services.common.contracts.evaluator import Comparison, Verdict
from services.evaluator.statistics.multiplicity import holm
from services.evaluator.statistics.paired import Contrast, Resampling, contrast
from services.evaluator.verdict import Decision, decide, headline, signed

HOW = Resampling(resamples=10_000, permutations=10_000, seed=0)


def judge(
    differences: np.ndarray, labels: list[str], *, margin: float = 0.05, family: int = 1
) -> tuple[Decision, Contrast]:
    evidence = contrast([float(d) for d in differences], labels, how=HOW, bound=4)
    corrected = holm([evidence.p, *[0.5] * (family - 1)], alpha=0.05)[0]
    decision = decide(evidence, corrected, margin=margin, alpha=0.05, higher_is_better=True)
    return decision, evidence


def alone(n: int) -> list[str]:
    return [str(number) for number in range(n)]


def test_differences_that_cancel_in_every_document_are_not_called_identical() -> None:
    labels = [str(n // 2) for n in range(20)]
    decision, evidence = judge(np.array([1.0, -1.0] * 10), labels)
    assert not evidence.identical
    assert (decision.verdict, decision.notes) == ("EQUIVALENT", ())


def test_the_rounding_of_sums_is_no_difference() -> None:
    decision, evidence = judge(np.full(60, 0.1 + 0.2 - 0.3), alone(60))
    assert evidence.identical
    assert (decision.verdict, evidence.p) == ("EQUIVALENT", 1.0)


def test_what_no_data_could_tell_asks_for_documents_or_for_permutations() -> None:
    """Six documents that all agree have a p of 0.03, of which a family of twelve makes 0.4."""
    differences = 0.9 + np.random.default_rng(0).normal(0, 0.05, 300)
    six = [str(n // 50) for n in range(300)]
    assert judge(differences, six)[0].verdict == "HELPS"
    decision, _ = judge(differences, six, family=12)
    assert (decision.verdict, decision.n_needed) == ("INCONCLUSIVE", 450)
    assert (
        "6 documents can tell no difference at all at a level of 0.0042, 9 could"
        in (decision.notes[0])
    )
    evidence = contrast(differences.tolist(), alone(300), how=Resampling(1_000, 1_000, 0))
    corrected = holm([evidence.p] * 60, alpha=0.05)[0]
    decision = decide(evidence, corrected, margin=0.05, alpha=0.05, higher_is_better=True)
    assert (decision.verdict, decision.n_needed) == ("INCONCLUSIVE", None)
    assert "so few permutations" in decision.notes[0]
    assert "1200 could" in decision.notes[0]


def test_identical_runs_of_few_items_say_what_they_cannot_exclude() -> None:
    decision, _ = judge(np.zeros(20), alone(20))
    assert decision.verdict == "EQUIVALENT"
    assert "20 items cannot exclude that 15%" in decision.notes[0]


def test_identical_items_of_few_documents_say_so_however_many_they_are() -> None:
    decision, _ = judge(np.zeros(100), [str(n % 2) for n in range(100)])
    assert decision.verdict == "EQUIVALENT"
    assert "100 items in 2 clusters cannot exclude that 100%" in decision.notes[0]


def test_a_small_real_difference_inside_the_margin_is_equivalent_and_said_to_be_there() -> None:
    differences = np.random.default_rng(14).normal(0.02, 0.05, 400)
    decision, _ = judge(differences, alone(400))
    assert decision.verdict == "EQUIVALENT"
    assert "smaller than the margin" in decision.notes[0]


def test_a_noisy_difference_is_inconclusive_and_says_how_many_items_would_do() -> None:
    differences = np.random.default_rng(15).normal(0.1, 1, 100)
    decision, _ = judge(differences, alone(100))
    assert decision.verdict == "INCONCLUSIVE"
    assert decision.n_needed is not None
    assert decision.n_needed > 100


def test_the_same_difference_may_not_survive_a_large_family() -> None:
    differences = stats.zscore(np.random.default_rng(16).normal(0, 1, 80)) + 0.3
    single, evidence = judge(differences, alone(80))
    assert 0.001 < evidence.p < 0.02
    among_many, _ = judge(differences, alone(80), family=60)
    assert (single.verdict, among_many.verdict) == ("HELPS", "INCONCLUSIVE")
    assert "so many comparisons" in among_many.notes[0]


def test_fewer_than_six_documents_decide_nothing_however_they_agree() -> None:
    labels = [str(n // 40) for n in range(200)]
    decision, _ = judge(np.full(200, 0.5), labels)
    assert decision.verdict == "INCONCLUSIVE"
    assert "5 documents" in decision.notes[0]


def test_where_less_is_better_a_rise_hurts() -> None:
    evidence = contrast([0.4, 0.5, 0.6] * 20, alone(60), how=HOW)
    corrected = holm([evidence.p], alpha=0.05)[0]
    for better, verdict in ((True, "HELPS"), (False, "HURTS"), (None, "INCONCLUSIVE")):
        decision = decide(evidence, corrected, margin=0.05, alpha=0.05, higher_is_better=better)
        assert decision.verdict == verdict


def compared(arm: str, condition: str, metric: str, verdict: Verdict, diff: float) -> Comparison:
    return Comparison.model_validate(
        {
            "arm": arm,
            "baseline": "base",
            "condition": condition,
            "metric": metric,
            "base": 0.5,
            "tuned": 0.5 + diff,
            "diff": diff,
            "ci95": (diff - 0.1, diff + 0.1),
            "p": 0.01,
            "p_holm": 0.02,
            "n": 60,
            "clusters": 20,
            "verdict": verdict,
            "primary": True,
        }
    )


def test_the_headline_names_losses_first_and_counts_the_rest() -> None:
    sentence = headline(
        [
            compared("qa", "closed_book", "token_f1", "EQUIVALENT", 0.0),
            compared("qa", "retrieved", "token_f1", "HELPS", 0.2),
            compared("qa", "retrieved", "contains_answer", "HURTS", -0.31),
            compared("rag", "retrieved", "token_f1", "INCONCLUSIVE", 0.02),
        ],
        ["closed_book", "retrieved"],
    )
    assert sentence == (
        "qa HURTS retrieved contains_answer by 0.31 (95 % interval −0.41 to −0.21) and HELPS "
        "retrieved token_f1 by 0.20 (95 % interval +0.10 to +0.30) (other conditions: "
        "1 EQUIVALENT); rag is INCONCLUSIVE on retrieved token_f1."
    )


def test_a_headline_of_nothing_says_so() -> None:
    assert headline([], ["retrieved"]) == "Nothing could be compared."


@pytest.mark.parametrize(
    ("value", "text"), [(0.004, "0.00"), (-0.004, "0.00"), (-0.256, "−0.26"), (0.1, "+0.10")]
)
def test_a_difference_is_written_with_a_true_minus(value: float, text: str) -> None:
    assert signed(value) == text
