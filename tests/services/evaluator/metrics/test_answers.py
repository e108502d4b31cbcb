"""Scores of answers, beside the field's own packages where they compute the same.

``evaluate`` fetches its SQuAD script from the hub when it is asked; transformers carries the same
official script, and is the peer here.
"""

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.data.metrics import squad_metrics

from services.common.text import squad_normalise
from services.evaluator.metrics import METRICS, Sample, score, unscored
from services.evaluator.metrics.answers import (
    answer_recall,
    contains_answer,
    exact_match,
    groundedness,
    refusal,
    token_f1,
)

TEXTS = st.text(alphabet="aAthe n,.-\t1é" + string.punctuation, max_size=40)


@given(TEXTS, TEXTS)
@settings(max_examples=300, deadline=None)
def test_squad_s_scores_agree_with_the_field_s_package(said: str, right: str) -> None:
    assert squad_normalise(said) == squad_metrics.normalize_answer(said)
    sample = Sample(said, [right])
    assert exact_match(sample) == squad_metrics.compute_exact(right, said)
    assert token_f1(sample) == pytest.approx(float(squad_metrics.compute_f1(right, said)))


def test_a_typesetter_s_marks_are_those_of_a_keyboard() -> None:
    sample = Sample("Newton’s “laws” 1–3", ['Newton\'s "laws" 1-3'])
    assert (exact_match(sample), token_f1(sample)) == (1.0, 1.0)
    assert groundedness(Sample("Newton’s", ["x"], passages=["Newton's laws"])) == 1.0


def test_the_best_of_the_right_answers_counts() -> None:
    sample = Sample("in Bergen", ["the city of Oslo"], aliases=["Bergen"])
    assert token_f1(sample) == pytest.approx(2 / 3)
    assert exact_match(Sample("The Bergen!", ["Oslo"], aliases=["Bergen"])) == 1.0


@pytest.mark.parametrize(
    ("said", "right", "holds"),
    [
        ("It is the Blue Whale.", "blue whale", True),
        ("It is a whale, and blue.", "blue whale", False),
        ("The cat is here.", "art", False),
        ("Particles", "art", False),
        ("Oslo/Bergen", "Bergen", True),
        ("Oslo—the capital", "oslo", True),
        ("a state-of-the-art pump", "state of the art", True),
        ("It cost 1,000 crowns", "1000", True),
        ("It cost 11,000 crowns", "1,000", False),
        ("It is Alzheimer’s disease.", "Alzheimer's disease", True),
        ("It is Alzheimer's disease.", "Alzheimer’s disease", True),
        ("Eugene O‘Neill", "O'Neill", True),
        ("It was called “Dune”", "dune", True),
        ("from 1939–1945", "1939-1945", True),
        ("", "Oslo", False),
        ("anything at all", "the", False),
    ],
)
def test_an_answer_holds_whole_words_only(said: str, right: str, holds: bool) -> None:
    assert contains_answer(Sample(said, [right])) == float(holds)


def test_recall_does_not_mind_a_long_answer_where_f1_does() -> None:
    sample = Sample("The pump was made by Nordvik, as far as the handbook says", ["Nordvik"])
    assert answer_recall(sample) == 1.0
    assert token_f1(sample) < 0.3


def test_recall_is_not_defined_for_a_reference_without_words() -> None:
    assert answer_recall(Sample("x", ["the"])) is None


def test_groundedness_is_the_share_of_content_words_the_passages_hold() -> None:
    passages = ["The pump was installed in Bergen."]
    assert groundedness(Sample("It was installed in Bergen", ["x"], passages=passages)) == 1.0
    assert groundedness(Sample("It was installed in Oslo", ["x"], passages=passages)) == 0.5


def test_groundedness_is_not_defined_closed_book_or_for_an_answer_without_content() -> None:
    assert groundedness(Sample("Bergen", ["x"])) is None
    assert groundedness(Sample("It is.", ["x"], passages=["Bergen"])) is None
    assert groundedness(Sample("", ["x"], passages=["Bergen"])) is None


@pytest.mark.parametrize(
    ("said", "declines"),
    [
        ("I don't know.", True),
        ("I don’t know the answer.", True),
        ("I do not know", True),
        ("We cannot determine this from the passages.", True),
        ("The colour is not mentioned in the passages.", True),
        ("There is no information about it: no information is given.", True),
        ("The question cannot be answered.", True),
        ("   ", True),
        ("Teal.", False),
        ("I know that it is teal.", False),
        ("The manager cannot approve leave.", False),
    ],
)
def test_a_refusal_is_told_from_an_answer(said: str, declines: bool) -> None:
    assert refusal(Sample(said, ["x"])) == float(declines)


@given(TEXTS, TEXTS, st.lists(TEXTS, max_size=3))
@settings(max_examples=200, deadline=None)
def test_every_score_is_on_its_scale_or_not_defined(
    said: str, right: str, passages: list[str]
) -> None:
    for name, value in score(Sample(said, [right], passages=passages)).items():
        if value is not None and METRICS[name].scale == "0..1":
            assert 0 <= value <= 1
            assert value in (0, 1) or not METRICS[name].binary


def test_an_answer_that_never_came_has_every_metric_and_no_score() -> None:
    assert unscored() == dict.fromkeys(METRICS, None)
