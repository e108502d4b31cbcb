"""Citation recall and precision on answers whose citations are known."""

import pytest

from services.evaluator.metrics import Sample
from services.evaluator.metrics.citations import citation_precision, citation_recall

PASSAGES = [
    "The pump was installed in Bergen in 2014.",
    "Its seal is made of rubber.",
    "The canteen opens at seven.",
]
INSTALLED, SEALED = "The pump was installed in Bergen in 2014.", "Its seal is rubber."
BOTH = f"{INSTALLED} {SEALED}"


def scores(
    answer: str, citations: list[tuple[int, int]], passages: list[str] | None = PASSAGES
) -> tuple[float | None, float | None]:
    sample = Sample(answer, ["x"], passages=passages, citations=citations)
    return citation_recall(sample), citation_precision(sample)


def test_every_sentence_with_the_passage_it_comes_from_is_perfect() -> None:
    assert scores(BOTH, [(0, 0), (1, BOTH.index("Its"))]) == (1.0, 1.0)


def test_a_sentence_without_a_citation_costs_recall_only() -> None:
    assert scores(BOTH, [(0, 0)]) == (0.5, 1.0)


def test_a_passage_that_says_something_else_bears_nothing() -> None:
    assert scores(INSTALLED, [(2, 0)]) == (0.0, 0.0)


def test_a_citation_that_adds_nothing_costs_precision_only() -> None:
    assert scores(INSTALLED, [(0, 0), (2, 0)]) == (1.0, 0.5)


def test_passages_may_bear_a_sentence_together() -> None:
    answer = "The pump in Bergen has a seal of rubber."
    assert scores(answer, [(0, 0)]) == (0.0, 0.0)
    assert scores(answer, [(0, 0), (1, 0)]) == (1.0, 1.0)


def test_a_wrong_number_is_never_borne() -> None:
    assert scores(INSTALLED.replace("2014", "2015"), [(0, 0)]) == (0.0, 0.0)


def test_a_marker_is_no_number_of_the_sentence_and_keeps_its_place() -> None:
    answer = f"{INSTALLED[:-1]} [1]. {SEALED[:-1]} [2]."
    assert scores(answer, [(0, 0), (1, answer.index("Its"))]) == (1.0, 1.0)


def test_markers_in_one_bracket_are_no_numbers_of_the_sentence_either() -> None:
    answer = f"{INSTALLED[:-1]} [1, 3]."
    assert scores(answer, [(0, 0), (2, 0)]) == (1.0, 0.5)


def test_a_marker_of_a_passage_that_was_not_given_costs_precision() -> None:
    assert scores(f"{INSTALLED[:-1]} [9].", []) == (0.0, 0.0)
    assert scores(f"{INSTALLED} [9]", []) == (0.0, 0.0)
    assert scores(f"{INSTALLED[:-1]} [1, 9].", [(0, 0)]) == (1.0, 0.5)
    quoting = [f"{INSTALLED[:-1]} [9].", *PASSAGES]
    assert scores(f"{INSTALLED[:-1]} [9].", [(0, 0)], quoting) == (1.0, 1.0)


def test_a_passage_cited_twice_in_a_sentence_is_one_citation() -> None:
    assert scores(INSTALLED, [(0, 0), (0, 12), (2, 4)]) == (1.0, 0.5)


@pytest.mark.parametrize(
    ("answer", "passages"),
    [(INSTALLED, None), (INSTALLED, []), ("I don't know.", PASSAGES), ("It is.", PASSAGES)],
)
def test_where_nothing_is_given_or_stated_there_is_nothing_to_score(
    answer: str, passages: list[str] | None
) -> None:
    assert scores(answer, [], passages) == (None, None)


def test_precision_is_not_defined_where_nothing_is_cited() -> None:
    assert scores(INSTALLED, []) == (0.0, None)
