"""``fineproof compare`` says what is true of two files, and ends in the code that says it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.fineproof.comparison.conftest import Compare

ITEMS = 300
GENERATOR = np.random.default_rng(20)


def judged(mean: float, noise: Sequence[float] | Any, **more: Any) -> list[dict[str, Any]]:
    """Scores of a judge of 1 to 5, their mean exactly ``mean``; ten items a document."""
    raw = np.clip(mean + noise, 1, 5)
    for _ in range(50):  # what clipping took from the mean is given back
        raw = np.clip(raw + mean - raw.mean(), 1, 5)
    return [
        {"id": f"q{n}", "doc_id": f"d{n // 10}", "score": float(value), **more}
        for n, value in enumerate(raw)
    ]


def binary(share: float, seed: int) -> list[dict[str, Any]]:
    right = np.zeros(ITEMS, dtype=bool)
    right[: round(share * ITEMS)] = True
    np.random.default_rng(seed).shuffle(right)
    return [{"id": f"q{n}", "score": bool(value)} for n, value in enumerate(right)]


NOISE = GENERATOR.normal(0, 0.8, ITEMS)
OTHER = GENERATOR.normal(0, 0.8, ITEMS)
GOOD, POOR = judged(4.08, NOISE), judged(3.05, OTHER)


@pytest.mark.parametrize(
    ("base", "tuned", "options", "verdict", "code"),
    [
        (GOOD, POOR, (), "HURTS", 1),
        (GOOD, POOR, ("--threshold", "3.5"), "HURTS", 1),
        (POOR, GOOD, (), "HELPS", 0),
        (binary(0.46, 1), binary(0.80, 2), (), "HELPS", 0),
    ],
    ids=["4.08 to 3.05", "the same as a share that passes", "3.05 to 4.08", "0.46 to 0.80"],
)
def test_the_four_gate_cases_come_out_right(
    compare: Compare, base: Any, tuned: Any, options: tuple[str, ...], verdict: str, code: int
) -> None:
    told = compare(base, tuned, *options)
    assert (told.result["verdict"], told.code) == (verdict, code)
    assert told.result["exit_code"] == code
    assert ("McNemar" in " ".join(told.result["notes"])) == (told.result["scale"] == "0 to 1")
    assert told.result["n"] == ITEMS


def test_identical_files_are_equivalent(compare: Compare) -> None:
    told = compare(GOOD, GOOD)
    assert (told.result["verdict"], told.code) == ("EQUIVALENT", 0)
    assert told.result["diff"] == 0


def test_a_small_difference_is_equivalent_and_a_small_sample_inconclusive(compare: Compare) -> None:
    shifted = [row | {"score": row["score"] - 0.02} for row in POOR]
    assert compare(POOR, shifted).result["verdict"] == "EQUIVALENT"
    few = compare(GOOD[:40], POOR[:40])  # of four documents
    assert (few.result["verdict"], few.code) == ("INCONCLUSIVE", 2)


def test_noise_is_inconclusive_and_says_how_many_items_would_settle_it(compare: Compare) -> None:
    told = compare(judged(3.0, NOISE)[:60], judged(3.0, OTHER)[:60])
    assert (told.result["verdict"], told.code) == ("INCONCLUSIVE", 2)
    assert told.result["n_needed"] > 60


def test_items_of_one_document_are_kept_together(compare: Compare) -> None:
    """Ten documents go up by chance or down: as 100 items that stand alone it would be a proof."""
    ups = [0.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9, -0.9, -0.9, -0.9]
    base = [{"id": n, "doc_id": n // 10, "score": 3} for n in range(100)]
    tuned = [{"id": n, "doc_id": n // 10, "score": 3 + ups[n // 10]} for n in range(100)]
    clustered = compare(base, tuned)
    assert (clustered.result["verdict"], clustered.code) == ("INCONCLUSIVE", 2)
    assert (clustered.result["clusters"], clustered.result["clustered_by"]) == (10, "doc_id")
    alone = compare(base, tuned, "--cluster", "none")
    assert (alone.result["verdict"], alone.result["clusters"]) == ("HELPS", 100)


def test_lower_may_be_better(compare: Compare) -> None:
    told = compare(GOOD, POOR, "--lower-is-better")
    assert (told.result["verdict"], told.code) == ("HELPS", 0)
    passing = compare(GOOD, POOR, "--lower-is-better", "--threshold", "3.5")
    assert passing.result["verdict"] == "HELPS"
    assert passing.result["tuned"] > passing.result["base"]


def test_a_threshold_that_parts_nothing_is_refused(compare: Compare) -> None:
    """In other units than the scores' it would make what hurts the same."""
    base, tuned = binary(0.8, 1), binary(0.46, 2)
    for threshold in ("3.5", "nan", "inf", "0", "-1"):
        told = compare(base, tuned, "--threshold", threshold)
        assert (told.code, told.result["verdict"]) == (3, None)
        assert "--threshold" in told.result["error"]
    assert compare(base, tuned, "--threshold", "0.5").result["threshold"] == 0.5
    assert compare(GOOD, POOR, "--threshold", "0.7").code == 3
    assert compare(GOOD, POOR, "--threshold", "5", "--lower-is-better").code == 3
    percent = [{"id": n, "score": 40 + n % 30} for n in range(60)]
    assert compare(percent, percent, "--threshold", "55").result["base"] == 0.5
    assert "no score from 40 to 69 passes" in compare(percent, percent, "--threshold", "70").stderr
    assert compare(percent, percent, "--threshold", "0.5").code == 3
    good = [row | {"score": max(row["score"], 3.6)} for row in GOOD]  # all pass, as they may
    assert compare(good, good, "--threshold", "3.5").result["verdict"] == "EQUIVALENT"


def test_margins_follow_the_scale_and_nothing_is_equivalent_on_an_unknown_one(
    compare: Compare,
) -> None:
    assert compare(GOOD, POOR).result["margin"] == 0.25
    assert compare(binary(0.5, 1), binary(0.5, 2)).result["margin"] == 0.05
    percent = [{"id": n, "score": 40 + n % 30} for n in range(200)]
    nearly = [
        row | {"score": row["score"] + (0.01 if n % 2 else -0.01)} for n, row in enumerate(percent)
    ]
    told = compare(percent, nearly)
    assert (told.result["verdict"], told.result["margin"]) == ("INCONCLUSIVE", None)
    assert any("--margin" in note for note in told.result["notes"])
    assert compare(percent, nearly, "--margin", "1").result["verdict"] == "EQUIVALENT"
    assert compare(percent, percent).result["verdict"] == "EQUIVALENT"


def test_files_that_look_to_be_on_unlike_scales_are_wondered_at(compare: Compare) -> None:
    shares = [{"id": n, "score": n % 8 / 10} for n in range(60)]
    percent = [row | {"score": 100 * row["score"]} for row in shares]
    told = compare(shares, percent).result
    assert any("0.7 and" in note and "to 70: are they" in note for note in told["notes"])
    longer = [row | {"score": 2 * row["score"]} for row in shares]
    assert not any("are they" in note for note in compare(shares, longer).result["notes"])


def test_unscored_items_are_counted_and_bounded_never_zero(compare: Compare) -> None:
    def without(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
        return [row | ({"score": None} if n < count else {}) for n, row in enumerate(rows)]

    told = compare(GOOD, without(GOOD, 12))
    assert (told.result["verdict"], told.code) == ("EQUIVALENT", 0)
    assert (told.result["n"], told.result["unscored"]) == (288, 12)
    assert told.result["files"]["tuned"]["unscored"] == 12
    low, high = told.result["bounds"]
    lost = sum(row["score"] - 1 for row in GOOD[:12]) / ITEMS
    assert low == pytest.approx(-lost)
    assert 0 < high < 0.2
    assert compare(GOOD, GOOD).result["bounds"] is None
    too_many = compare(GOOD, without(GOOD, 60))
    assert (too_many.result["verdict"], too_many.code) == ("INCONCLUSIVE", 2)
    assert compare(GOOD, without(POOR, 60)).result["verdict"] == "HURTS"


def test_repeats_without_a_score_are_counted_and_bounded(compare: Compare) -> None:
    asked = [row | {"score": None if n % 10 else 1.0} for row in POOR for n in range(10)]
    told = compare([row | {"score": 0.5} for row in POOR], asked, "--repeats").result
    assert (told["verdict"], told["n"], told["unscored"]) == ("INCONCLUSIVE", ITEMS, ITEMS)
    assert told["files"]["tuned"]["unscored"] == ITEMS
    assert told["bounds"] == pytest.approx([0.1 - 0.5, 1 - 0.5])


@pytest.mark.parametrize("score", [0.1, 1234567.1, 3e99])
def test_the_rounding_of_means_is_no_difference(compare: Compare, score: float) -> None:
    once = [{"id": n, "score": score} for n in range(60)]
    again = [{"id": n, "score": score} for n in range(60) for _ in range(10)]
    told = compare(once, again, "--repeats").result
    assert (told["verdict"], told["diff"], told["p"]) == ("EQUIVALENT", 0, 1)
    doubled = compare(once, [row | {"score": 2 * score} for row in once]).result
    assert (doubled["verdict"], doubled["diff"]) == ("HELPS", pytest.approx(score))


def test_where_a_scale_ends_nowhere_the_unscored_leave_nothing_decided(compare: Compare) -> None:
    percent = [{"id": n, "score": 40 + n % 30} for n in range(200)]
    better = [row | {"score": row["score"] + 20} for row in percent]
    missing = [row | {"score": None} if row["id"] < 3 else row for row in better]
    assert compare(percent, better).result["verdict"] == "HELPS"
    told = compare(percent, missing).result
    assert (told["verdict"], told["unscored"], told["bounds"]) == ("INCONCLUSIVE", 3, None)
    assert "3 pairs lack a score" in told["notes"][0]
    assert "would be HELPS; --scale" in told["notes"][0]
    same = [{"id": n, "score": 50 if n else None} for n in range(200)]
    assert compare(same, same).result["verdict"] == "INCONCLUSIVE"
    bounded = compare(percent, missing, "--scale", "0:100").result
    assert (bounded["verdict"], bounded["margin"], bounded["scale"]) == ("HELPS", 5, "0 to 100")
    assert bounded["bounds"] is not None
    assert compare(same, same, "--scale", "0:100").result["verdict"] == "EQUIVALENT"


def test_a_scale_that_is_told_holds_all_scores(compare: Compare) -> None:
    percent = [{"id": n, "score": 40 + n % 30} for n in range(20)]
    for scale in ("0:1", "100:0", "much", "0:inf", "1"):
        told = compare(percent, percent, "--scale", scale)
        assert told.code == 3
        assert "--scale" in told.result["error"]
    assert compare(percent, percent, "--scale", "0:100", "--threshold", "90").result["base"] == 0
    assert compare(percent, percent, "--scale", "0:100", "--threshold", "101").code == 3
    assert compare(percent, percent, "--scale", "-100:100").result["margin"] == 10


def test_a_result_depends_on_nothing_but_files_and_seed(compare: Compare) -> None:
    first = compare(GOOD, POOR).result
    assert compare(GOOD, list(reversed(POOR))).result["p"] == first["p"]
    assert compare(GOOD, POOR).result == first
    assert compare(GOOD, POOR, "--seed", "7").result["ci95"] != first["ci95"]
