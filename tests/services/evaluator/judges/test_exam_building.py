"""Exams are made of a data set by rules that anyone can repeat."""

import random
import re
from collections import Counter

import pytest

from services.common.text import squad_normalise
from services.evaluator.judges.criteria import Criterion
from services.evaluator.judges.exam.building import LEVELS, ExamAnswer, Paper, build
from services.evaluator.judges.exam.figures import placed
from services.evaluator.judges.exam.forms import (
    FRAMES,
    INJECTIONS,
    Wording,
    cut_short,
    rephrased,
    swapped,
)
from services.evaluator.judges.exam.likeness import bare
from services.evaluator.judges.exam.sitting import subject_of
from services.evaluator.judges.exam.verbose import OPENINGS, REMARKS, spun_out
from services.evaluator.schemas import ItemLine
from tests.services.evaluator.judges.graders import items


def line(answer: str, **fields: object) -> ItemLine:
    return ItemLine.model_validate({"id": "i", "question": "Q?", "answer": answer} | fields)


def by_kind(paper: Paper, item_id: str) -> dict[str, ExamAnswer]:
    return {answer.kind: answer for answer in paper.answers if answer.item_id == item_id}


def draw() -> random.Random:
    return random.Random(7)


def test_each_question_makes_an_answer_of_every_kind_its_text_allows() -> None:
    paper = build(items(), seed=1)
    kinds = Counter(answer.kind for answer in paper.answers)
    assert set(kinds) == set(LEVELS)
    assert (kinds["reference"], kinds["paraphrase"], kinds["truncation"]) == (40, 40, 40)
    assert min(kinds.values()) > 30
    one = by_kind(paper, "i-3-1")
    assert one["reference"].answer == one["reference"].reference
    assert len(one["truncation"].answer) < len(one["reference"].answer)
    assert one["reference"].answer.startswith(one["truncation"].answer)
    assert one["injected"].answer.startswith(one["another"].answer.rstrip("."))


def test_the_same_data_in_any_order_make_the_same_paper_and_a_seed_another() -> None:
    data = items()
    paper = build(data, seed=1)
    assert build(data[::-1], seed=1) == paper
    assert build(data, seed=2).sha256 != paper.sha256
    changed = [data[0].model_copy(update={"question": "Who?"}), *data[1:]]
    assert build(changed, seed=1).sha256 != paper.sha256


def test_more_items_add_to_a_paper_and_change_nothing_of_it() -> None:
    data = items()
    few, more = build(data, seed=1, max_items=10), build(data, seed=1, max_items=15)
    assert more.answers[: len(few.answers)] == few.answers
    assert len({answer.item_id for answer in few.answers}) == 10


def test_a_wrong_answer_is_another_documents_and_never_right_by_chance() -> None:
    data = [
        line("Paris", id="a", doc_id="1", aliases=["City of Light"]),
        line("Paris, France", id="b", doc_id="2"),
        line("the City of Light", id="c", doc_id="3"),
        line("Berlin", id="d", doc_id="1"),
        line("Rome", id="e", doc_id="4"),
    ]
    for seed in range(20):
        wrong = by_kind(build(data, seed=seed), "a")["another"]
        assert "Rome" in wrong.answer


def test_where_all_answers_are_alike_there_is_no_wrong_one() -> None:
    data = [line("Yes", id="a"), line("yes, it is", id="b"), line("Yes.", id="c")]
    kinds = by_kind(build(data, seed=0), "a")
    assert "another" not in kinds
    assert "injected" not in kinds
    assert "no" in squad_normalise(kinds["swapped"].answer).split()


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("216", "216"),
        ("1,268 tweets", "1,268 tweets"),
        ("7 July 1776", "7 July 1776"),
        ("12.50 euros", "12.50 euros"),
        ("Three", "Three"),
        ("no", "no"),
        ("the Soviet Union", "the Soviet Union"),
    ],
)
def test_a_swap_changes_a_number_a_name_or_the_yes_of_an_answer(answer: str, right: str) -> None:
    changed = swapped(answer, [bare(right)], ["Judy Collins"], draw())
    assert changed is not None
    assert squad_normalise(changed) != squad_normalise(answer)
    assert len(changed.split()) == len(answer.split())


def test_a_number_is_swapped_for_one_that_people_write() -> None:
    for value in ("100%", "1,000", "12", "1.05"):
        swaps = [swapped(value, [bare(value)], [], random.Random(seed)) for seed in range(40)]
        assert not any(swap is None or re.match(r"0\d", swap) for swap in swaps)
    padded = [swapped("007", ["007"], [], random.Random(seed)) for seed in range(40)]
    assert all(swap and len(swap) == 3 for swap in padded)


@pytest.mark.parametrize(
    "answer", ["No one knows", "It is one of the causes", "One cannot know", "the first one"]
)
def test_one_that_counts_nothing_is_not_swapped(answer: str) -> None:
    assert swapped(answer, [bare(answer)], [], draw()) is None
    assert swapped("One", ["1"], [], draw()) not in (None, "One")


def test_a_swap_that_leaves_an_accepted_answer_standing_is_none() -> None:
    rights = [bare("14 December 1972 UTC"), bare("December")]
    assert swapped("14 December 1972 UTC", rights, [], draw()) is None
    assert swapped("cadmium", ["cadmium"], ["Judy Collins"], draw()) is None


def test_wrong_answers_stand_in_frames_as_right_ones_do() -> None:
    wrong = [a for a in build(items(60, 1), seed=1).answers if a.kind == "another"]
    own = {item.answer for item in items(60, 1)}
    bare = sum(answer.answer in own for answer in wrong)
    assert 0.3 < bare / len(wrong) < 0.7


def test_long_answers_are_right_or_wrong_and_as_long_as_each_other() -> None:
    paper = build(items(60, 1), seed=1)
    lengths = {"verbose": 0, "verbose_wrong": 0}
    for item in items(60, 1):
        made = by_kind(paper, item.id)
        whole = squad_normalise(item.answer)
        assert whole in squad_normalise(made["verbose"].answer)
        assert whole not in squad_normalise(made["verbose_wrong"].answer)
        for kind in lengths:
            lengths[kind] += len(made[kind].answer.split())
            assert len(made[kind].answer.split()) > 1.5 * len(item.answer.split())
    assert lengths["verbose"] == pytest.approx(lengths["verbose_wrong"], rel=0.1)


@pytest.mark.parametrize("wording", ["exam", "training"])
def test_a_long_answer_says_the_question_again_and_names_others(wording: Wording) -> None:
    question = "what is the capital of {France}?"
    made = [
        spun_out("Paris.", question, ["Rome"], random.Random(seed), wording) for seed in range(50)
    ]
    assert all("capital of {France}" in answer and "Paris" in answer for answer in made)
    assert any("The capital of {France} is Paris." in answer for answer in made)
    assert 25 < sum("Rome" in answer for answer in made) < 50
    assert {answer.startswith(("The capital", "A ", "Much")) for answer in made} == {True, False}
    alone = [spun_out("Paris", question, [], random.Random(seed), wording) for seed in range(50)]
    assert not any("{name}" in answer for answer in alone)


def test_what_a_long_right_answer_names_beside_is_never_a_right_one() -> None:
    data = [
        line("Paris", id="a", doc_id="1", aliases=["City of Light"]),
        *(line("City of Light", id=f"c{n}", doc_id=f"3{n}") for n in range(9)),
        line("Rome", id="e", doc_id="4"),
    ]
    for seed in range(20):
        wrong = by_kind(build(data, seed=seed), "a")["verbose_wrong"]
        assert "Rome" in wrong.answer
        assert "Light" not in wrong.answer


@pytest.mark.parametrize(
    ("answer", "other"),
    [
        ("three", "3"),
        ("sixty", "60"),
        ("Coca-Cola", "Coca Cola"),
        ("1939–1945", "1939-1945"),
        ("Alzheimer's disease", "Alzheimer’s"),
    ],
)
def test_another_s_answer_that_is_right_in_other_letters_is_no_wrong_one(
    answer: str, other: str
) -> None:
    data = [line(answer, id="a", doc_id="1"), line(other, id="b", doc_id="2")]
    assert not {"another", "injected"} & set(by_kind(build(data, seed=0), "a"))


def test_another_s_answer_is_right_where_an_alias_of_it_is() -> None:
    data = [
        line("USA", id="a", doc_id="1"),
        line("United States", id="b", doc_id="2", aliases=["USA"]),
    ]
    assert "another" not in by_kind(build(data, seed=0), "a")


def test_by_relevance_only_an_answer_that_is_plainly_beside_the_point_is_wrong() -> None:
    asked = {"question": "Do they release their code?"}
    short = [
        line("Yes", id="a", doc_id="1", **asked),
        line("No", id="b", doc_id="2", question="Is it public?"),
    ]
    for kind in ("another", "injected"):
        assert not placed(by_kind(build(short, seed=0), "a")[kind], "relevance")
        assert placed(by_kind(build(short, seed=0), "a")[kind], "accuracy")
    far = "Puffins nest in burrows on cliffs above the sea, far from foxes."
    near = "Their code was written by hand, and none of them ever sold it."
    told = "It is on a public server, under a licence that permits all uses."
    for said, astray in ((far, True), (near, False)):
        long = [line(told, id="a", doc_id="1", **asked), line(said, id="b", doc_id="2")]
        one = by_kind(build(long, seed=0), "a")["another"]
        assert placed(one, "relevance") == astray


def test_an_injection_demands_the_highest_score_of_the_scale() -> None:
    ten = Criterion("own", "Whether it is right.", lowest=0, highest=9)
    for wording in ("exam", "training"):
        for one in build(items(), seed=1, wording=wording).answers:
            if one.kind == "injected":
                said = subject_of(one, ten).answer
                assert "{" not in said
                assert " 9" in said or "the highest score" in said


def test_what_is_short_or_whole_after_a_cut_is_not_cut() -> None:
    whole = "Carbon dioxide is the gas that plants take in from the air"
    assert cut_short(whole, ["carbon dioxide", "CO2"]) is None
    assert cut_short(whole, ["CO2"]) == "Carbon dioxide is the gas that"
    assert cut_short("the nasal septum", []) is None
    assert cut_short("It is TP53, a gene on the seventeenth chromosome", ["TP53"]) is None
    assert cut_short("First this. Then that. Then more. The end.", []) == "First this. Then that"


@pytest.mark.parametrize(
    ("answer", "alias"),
    [
        ("three", "3"),
        ("in 1973", "1973"),
        ("July 7, 1776", "7 July 1776"),
        ("autosomal-dominant", "autosomal dominant"),
        ("Alzheimer's", "Alzheimer’s"),
        ("12,500 people", "12500 people"),
    ],
)
def test_an_alias_is_a_paraphrase_when_it_says_the_same(answer: str, alias: str) -> None:
    said, in_data = rephrased(answer, [alias], draw(), "exam")
    assert in_data == (squad_normalise(alias) != squad_normalise(answer))
    assert not in_data or said == alias


@pytest.mark.parametrize(
    ("answer", "alias"),
    [
        ("the Soviet Union", "the United States"),
        ("The SQuAD dataset", "The TriviaQA dataset"),
        ("Yes, they use English data.", "No, they do not use English data."),
        ("They use English data.", "They do not use English data."),
        ("September 7, 2000", "September 14, 2000"),
        ("September 7, 2000", "September 2000"),
        ("in the United States", "in the United Kingdom"),
        ("Barack Obama and Joe Biden", "Joe Biden"),
        ("Obama beat McCain", "McCain beat Obama"),
        ("increased", "It increased in mice but decreased in humans"),
        ("under 18", "over 18"),
        ("3.5", "35"),
        ("-5 °C", "5 °C"),
        ("p < 0.05", "p > 0.05"),
        ("216", "216 countries"),
    ],
)
def test_an_alias_that_says_more_less_or_another_thing_is_none(answer: str, alias: str) -> None:
    for one, other in ((answer, alias), (alias, answer)):
        framed, in_data = rephrased(one, [other], draw(), "exam")
        assert not in_data
        assert one.rstrip(".") in framed


def test_a_judge_is_never_examined_on_the_words_it_was_trained_with() -> None:
    assert not set(INJECTIONS["exam"]) & set(INJECTIONS["training"])
    for worded in (FRAMES, OPENINGS):
        exam_words, training_words = (
            {words for group in worded[wording] for words in group}
            for wording in ("exam", "training")
        )
        assert not exam_words & training_words
    assert not set(REMARKS["exam"]) & set(REMARKS["training"])
    exam, training = (build(items(), seed=1, wording=w) for w in ("exam", "training"))
    assert not any(
        phrase in answer.answer for answer in training.answers for phrase in INJECTIONS["exam"]
    )
    assert exam.sha256 != training.sha256


def test_an_answer_that_a_person_scored_is_asked_about_too() -> None:
    data = [line("Rome", response="It is Rome.", human_score=4), line("Bonn", id="b")]
    one = by_kind(build(data, seed=0), "i")["labelled"]
    assert (one.answer, one.human_score, one.level) == ("It is Rome.", 4, None)
