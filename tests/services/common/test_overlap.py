"""What of a test set is found again in training data."""

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.contracts.leakage import Matches
from services.common.overlap import Overlap, Row, sentences

QUESTION = "What is the name of the skin between your nostrils?"
PASSAGE = "The nasal septum separates the nostrils and consists mostly of cartilage and of bone."


def overlap(test: Row, *train: Row) -> Overlap:
    found = Overlap()
    found.hold(test)
    for row in train:
        found.meet(row)
    return found


def row(question: str = "?", answer: str = "x", **more: object) -> Row:
    return Row(id="t1", question=question, answer=answer, **more)  # type: ignore[arg-type]


def test_questions_are_met_letter_for_letter_in_other_dress_and_nearly() -> None:
    found = overlap(
        row(QUESTION),
        row(QUESTION),
        row(QUESTION.lower().replace("?", "")),
        row("What is the name of that skin between your nostrils?"),
        row("Who painted the ceiling of the Sistine Chapel in Rome?"),
    ).found()
    assert found.questions == Matches(exact=1, same=1, near=1)
    assert (found.rows, found.items, found.items_met) == (4, 1, 1)
    near = next(example for example in found.examples if example.likeness == "near")
    assert 0.7 <= near.similarity < 1


def test_a_question_is_repeated_where_its_answer_is_the_same_too() -> None:
    found = overlap(
        row("What is the baseline?", "a support vector machine"),
        row("What is the baseline?", "logistic regression"),
        row("what is the baseline", "A support vector machine."),
    ).found()
    assert found.repeated == 1
    assert next(sentences(found)).endswith(
        "1 have the same answer: what is measured there is memory."
    )


def test_a_question_with_another_answer_is_said_to_be_form_and_not_fact() -> None:
    found = overlap(row("What is the baseline?", "an SVM"), row("What is the baseline?", "a rule"))
    assert next(sentences(found.found())).endswith("the form is known, the fact is not.")


def test_another_question_of_the_same_form_is_not_near() -> None:
    asked = overlap(row("What is the capital of France?"), row("What is the capital of Spain?"))
    assert asked.found().questions.total == 0


def test_long_answers_count_and_short_ones_do_not() -> None:
    assert overlap(row(answer="yes"), row(answer="yes")).found().answers == 0
    said = "It was the worn seal."
    assert overlap(row(answer=said), row(answer=said.upper())).found().answers == 1


def test_passages_count_once_however_many_rows_bring_them() -> None:
    copy = PASSAGE.replace("mostly", "largely")
    found = overlap(
        row(passages={"p1": PASSAGE}),
        row(passages={"q1": copy}),
        row(passages={"q1": copy, "q2": PASSAGE}),
    ).found()
    assert found.passages == Matches(exact=1, near=1)


def test_gold_and_documents_are_shared_by_their_ids() -> None:
    found = overlap(
        row(gold=frozenset({"p1"}), documents=frozenset({"d1"})),
        row(gold=frozenset({"p1", "p2"}), documents=frozenset({"d1"})),
        row(gold=frozenset({"p3"}), documents=frozenset({"d1"})),
        row(gold=frozenset({"p3"}), documents=frozenset({"d2"})),
    ).found()
    assert (found.gold, found.documents) == (1, 2)


def test_nothing_in_common_is_nothing_to_say() -> None:
    assert list(sentences(overlap(row(QUESTION), row("Who?")).found())) == []
    said = list(sentences(overlap(row(QUESTION), row(QUESTION)).found()))
    assert len(said) == 1
    assert said[0].startswith("1 of 1 test questions stand in 1 of 1 training rows: 1 letter")


@given(st.lists(st.text(max_size=60), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_every_text_finds_itself(texts: list[str]) -> None:
    found = Overlap()
    for n, text in enumerate(texts):
        found.hold(Row(id=str(n), question=text, answer=""))
    for text in texts:
        found.meet(Row(id="x", question=text, answer=""))
    assert found.found().questions == Matches(exact=len(texts))
    assert found.found().items_met == len(texts)
