from pathlib import Path

import pytest

from bench.questions import Passage, Question, Questions
from bench.rankers import bm25, exact
from fineproof.local.plan import embedder

PASSAGES = [
    Passage("ship", "sea", "The cargo vessels left the harbour at dawn."),
    Passage("cat", "home", "A cat sleeps on the warm windowsill."),
    Passage("soup", "home", "Tomato soup is served on Tuesdays."),
]


def data(*questions: tuple[str, str], within: bool = False) -> Questions:
    asked = [Question(text, ["ship"], document) for text, document in questions]
    return Questions("x", Path("none"), PASSAGES, asked, within, 0)


def test_bm25_finds_a_word_in_another_form() -> None:
    found = bm25(data(("Which vessel was it?", "sea"), ("sleeping", "home")), 2)
    assert [ranked[0] for ranked in found] == ["ship", "cat"]


def test_vectors_find_other_words_and_every_text_is_counted() -> None:
    steps: list[int] = []
    found = exact(data(("boat departing from a port", "sea")), embedder(), 3, steps.append)
    assert found[0][0] == "ship"
    assert sum(steps) == len(PASSAGES) + 1


@pytest.mark.parametrize(
    ("question", "by_words"),
    [
        ("vessels and soup", [["soup"], ["ship"]]),
        ("the of and", [[], []]),
        ("unheard", [[], []]),
    ],
)
def test_within_documents_nobody_else_s_passages_are_found(
    question: str, by_words: list[list[str]]
) -> None:
    asked = data((question, "home"), (question, "sea"), within=True)
    assert bm25(asked, 10) == by_words
    found = exact(asked, embedder(), 10, lambda _: None)
    assert [sorted(ranked) for ranked in found] == [["cat", "soup"], ["ship"]]


def test_bm25_does_not_find_what_shares_no_word() -> None:
    assert bm25(data(("Which vessel was it?", "sea")), 3) == [["ship"]]
