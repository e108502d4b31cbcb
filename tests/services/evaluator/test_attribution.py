"""Why an answer got worse, one rule at a time."""

import pytest

from services.common.contracts.findings import Cause
from services.evaluator.attribution import Given, Said, attribute, lost_metric
from services.evaluator.metrics import METRICS, Sample, score

GOLD, OTHER = "The mast of Orla is teal.", "The mast of Bren is ochre."
RIGHT = "teal"


def said(text: str, *, finish_reason: str = "stop") -> Said:
    return Said(text, finish_reason, score(Sample(answer=text, references=[RIGHT])))


def given(*passages: str, evidence: tuple[str, ...] = ("gold",)) -> Given:
    ids = ["gold" if text == GOLD else "other" for text in passages]
    return Given(ids, passages, evidence, [RIGHT])


def cause(
    tuned: Said,
    passages: Given,
    *,
    base: str = "It is teal.",
    closed_book: str | None = "The mast is crimson.",
) -> Cause:
    metric = "contains_answer"
    return attribute(metric, said(base), tuned, passages, closed_book=closed_book).cause


@pytest.mark.parametrize(
    ("tuned", "passages", "expected"),
    [
        (
            said("The mast, as is well known,", finish_reason="length"),
            given(GOLD),
            "answer_cut_short",
        ),
        (said("  "), given(GOLD), "format"),
        (said("teal teal teal"), given(GOLD), "format"),
        (said("ochre"), given(OTHER), "retrieval_missed"),
        (said("The mast is crimson."), given(GOLD, OTHER), "parametric_override"),
        (said("I do not know."), given(GOLD, OTHER), "context_ignored"),
        (said("A purple elephant"), given(GOLD, OTHER), "context_ignored"),
        (said("The mast of Bren is ochre."), given(GOLD, OTHER), "context_ignored"),
    ],
)
def test_each_loss_has_one_cause(tuned: Said, passages: Given, expected: Cause) -> None:
    assert cause(tuned, passages) == expected


def test_an_item_that_names_no_evidence_is_looked_up_in_the_text() -> None:
    assert cause(said("ochre"), given(OTHER, evidence=())) == "retrieval_missed"
    assert cause(said("ochre"), given(GOLD, OTHER, evidence=())) == "context_ignored"


def test_what_the_passages_say_too_is_no_override() -> None:
    passages = given(GOLD, OTHER)
    assert cause(said("ochre"), passages, closed_book="ochre") == "context_ignored"
    assert cause(said("crimson"), passages, closed_book="crimson") == "parametric_override"
    assert cause(said("crimson"), passages, closed_book=None) == "context_ignored"


def test_a_binary_metric_is_lost_by_one_item_and_another_beyond_the_margin() -> None:
    metrics = [METRICS["contains_answer"], METRICS["token_f1"]]
    margins = dict.fromkeys(METRICS, 0.05)
    right = {"contains_answer": 1.0, "token_f1": 0.5}
    assert lost_metric(right, right | {"contains_answer": 0.0}, metrics, margins)
    assert lost_metric(right, right | {"token_f1": 0.46}, metrics, margins) is None
    assert lost_metric(right, right | {"token_f1": 0.44}, metrics, margins) == "token_f1"
    assert lost_metric(right, {"contains_answer": None, "token_f1": 0.9}, metrics, margins) is None


def test_where_less_is_better_more_is_the_loss() -> None:
    metrics = [METRICS["refusal"]]
    margins = dict.fromkeys(METRICS, 0.05)
    assert lost_metric({"refusal": 0.0}, {"refusal": 1.0}, metrics, margins) == "refusal"
    assert lost_metric({"refusal": 1.0}, {"refusal": 0.0}, metrics, margins) is None
