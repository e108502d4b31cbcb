"""The answer that is streamed is the answer that is returned, however the text is cut."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.prompts import ANSWER, REASON, render_reasoned, split_reasoned
from services.generator.rag.reasoning import Splitter

TUNED = render_reasoned("Passage [1] says ##begin_quote## A. ##end_quote##", "Ada.")
SAID = [
    TUNED,
    f"\n {TUNED} \n",
    " Ada, I think. \n",
    "## Ada # ##An ##Rea",
    "##Answer: Ada.",
    " ##Answer:\nAda. ",
    "It was her.\n##Answer:\nAda.",
    "##Reason: Passage [1] says ##begin_quote## It was ",
    "##Reason: one ##Answer: two ##Answer: three",
    "zero ##Answer: one ##Answer:",
    "##Reason:",
    "##Rea",
    "##Reason:##Answer:",
    "##Answer:##Answer: Ada.",
    "",
]


def streamed(*pieces: str) -> tuple[str, str | None]:
    """The answer and the reasoning as a reader of the stream puts them together."""
    splitter = Splitter()
    told = [told for piece in pieces for told in splitter.feed(piece)]
    answer = reasoning = ""
    for kind, text in [*told, *splitter.end()]:
        assert (text == "") == (kind == "reset")
        if kind == "reset":
            assert answer
            reasoning, answer = reasoning + answer, ""
        elif kind == "answer":
            answer += text
        else:
            reasoning += text
    return answer, reasoning or None


@pytest.mark.parametrize("said", SAID)
def test_cut_anywhere_the_pieces_make_the_whole_answer(said: str) -> None:
    answer, _ = split_reasoned(said)
    places = range(len(said) + 1)
    assert streamed(*said)[0] == answer
    for first in places:
        for second in places[first:]:
            pieces = said[:first], said[first:second], said[second:]
            assert streamed(*pieces)[0] == answer, pieces


@pytest.mark.parametrize("said", [s for s in SAID if s.count("##Answer:") <= 1])
def test_reasoning_comes_apart_and_without_markers(said: str) -> None:
    _, reasoning = split_reasoned(said)
    for cut in range(len(said) + 1):
        told = streamed(said[:cut], said[cut:])[1]
        assert (told and told.strip()) == reasoning


def test_nothing_is_held_back_that_no_marker_can_begin_with() -> None:
    splitter = Splitter()
    assert list(splitter.feed("It is")) == [("answer", "It is")]
    assert list(splitter.feed(" 4#")) == [("answer", " 4")]
    assert list(splitter.feed("5 ")) == [("answer", "#5")]
    assert list(splitter.feed("ways")) == [("answer", " ways")]


def test_an_answer_that_was_none_is_taken_back() -> None:
    splitter = Splitter()
    assert list(splitter.feed("Let me see.")) == [("answer", "Let me see.")]
    assert list(splitter.feed(" So: ##Answer: Ada.")) == [
        ("reset", ""),
        ("reasoning", " So:"),
        ("answer", "Ada."),
    ]


WORDS = st.text(st.sampled_from("a#RA: \n"), max_size=12)
REASONED = st.tuples(st.sampled_from(["", " "]), st.just(REASON), WORDS)
ANSWERED = st.tuples(st.just(REASON), WORDS, st.just(ANSWER), WORDS)


@given(
    st.one_of(WORDS, st.builds("".join, REASONED), st.builds("".join, ANSWERED)),
    st.lists(st.integers(0, 40), max_size=8),
)
def test_where_nothing_is_taken_back_the_pieces_still_make_the_whole(
    text: str, cuts: list[int]
) -> None:
    splitter = Splitter(resets=False)
    told = {"answer": "", "reasoning": ""}
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [splitter.feed(text[start:end]) for start, end in pairwise(places)]
    for piece in (*pieces, splitter.end()):
        for kind, part in piece:
            told[kind] += part
    answer, reasoning = split_reasoned(text)
    assert (told["answer"], told["reasoning"].strip()) == (answer, reasoning or "")


def test_where_nothing_is_taken_back_a_late_marker_is_the_answers_own() -> None:
    for pieces in (["A ##Answer: B"], ["A ##Ans", "wer: B"], ["A", " ##Answer: B"]):
        splitter = Splitter(resets=False)
        told = [told for piece in pieces for told in splitter.feed(piece)] + [*splitter.end()]
        assert "".join(text for _, text in told) == "A ##Answer: B"
        assert {kind for kind, _ in told} == {"answer"}
