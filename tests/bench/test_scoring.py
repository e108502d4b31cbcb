from pathlib import Path

import pytest

from bench.questions import Passage, Question, Questions
from bench.scoring import Quality, score


def data(count: int) -> Questions:
    asked = [Question("What?", [f"g{n}", f"h{n}"], str(n)) for n in range(count)]
    return Questions("x", Path("none"), [Passage("p", "p", "text")], asked, False, 0)


def test_a_list_is_scored_by_the_places_of_its_gold() -> None:
    scores = score(data(1), [["no", "g0", "no2", "no3", "no4", "h0"]])
    assert scores["hit@5"] == [1]
    assert scores["recall@10"] == [1]
    assert scores["MRR"] == [0.5]
    assert scores["nDCG@10"] == [pytest.approx((0.6309 + 0.3562) / (1 + 0.6309), abs=1e-4)]


def test_a_question_for_which_nothing_is_found_scores_nothing() -> None:
    scores = score(data(3), [["g0"], [], ["x"]])
    assert scores["MRR"] == [1, 0, 0]
    assert scores["recall@10"] == [0.5, 0, 0]


def ranked(right: int, of: int) -> list[list[str]]:
    return [[f"g{n}" if n < right else "x"] for n in range(of)]


@pytest.mark.parametrize(
    ("hybrid", "other", "verdict"), [(30, 10, "above"), (10, 30, "below"), (20, 21, "level")]
)
def test_the_lead_over_the_best_of_the_others_is_judged_by_its_interval(
    hybrid: int, other: int, verdict: str
) -> None:
    asked = data(40)
    found = {"hybrid": ranked(hybrid, 40), "text": ranked(other, 40), "BM25": ranked(0, 40)}
    quality = Quality(asked, {name: score(asked, each) for name, each in found.items()})
    lead = quality.leads["MRR"]
    assert (lead.against, lead.verdict) == ("text", verdict)
    assert (lead.ours, lead.theirs) == (hybrid / 40, other / 40)
    figure = next(each for each in quality.figures() if "MRR" in each.name)
    assert figure.name == "x: MRR, against text"
    assert figure.met is (hybrid >= other)


def test_what_nobody_scores_at_is_no_figure() -> None:
    asked = data(2)
    nothing = score(asked, [[], []])
    assert Quality(asked, {"hybrid": nothing, "text": nothing}).figures() == []
