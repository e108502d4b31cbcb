from dataclasses import dataclass

import pytest

from services.common.prompts import (
    render_messages,
    render_quote,
    render_reasoned,
    split_reasoned,
)


@dataclass
class Text:
    title: str
    text: str


def test_a_closed_book_prompt_holds_the_question_alone() -> None:
    system, user = render_messages("Why {x}?")
    assert system["role"] == "system"
    assert user == {"role": "user", "content": "Question: Why {x}?"}


def test_passages_are_numbered_in_order() -> None:
    content = render_messages("Why?", [Text("One", "first"), Text("", "second")])[1]["content"]
    assert content.index("[1] One\nfirst") < content.index("[2]\nsecond") < content.index("Why?")


def test_braces_and_placeholders_in_texts_stay_as_they_are() -> None:
    content = render_messages("Is {question} {passages}?", [Text("{0}", "{question}")])[1][
        "content"
    ]
    assert "[1] {0}\n{question}" in content
    assert content.endswith("Question: Is {question} {passages}?")


def test_a_template_of_ones_own_is_filled_once() -> None:
    template = "{question} {x} {{passages}} {question}"
    earlier = [{"role": "user", "content": "{question}"}, {"role": "assistant", "content": "Hm."}]
    messages = render_messages(
        "Is {passages}?", [Text("", "{question}")], earlier=earlier, system="S", template=template
    )
    assert messages[0] == {"role": "system", "content": "S"}
    assert messages[1:3] == earlier
    assert messages[3]["content"] == "Is {passages}? {x} {[1]\n{question}} Is {passages}?"


def test_the_final_answer_is_taken_out_of_what_training_wrote() -> None:
    reason = render_quote(2, "It {was} Ada.")
    said = render_reasoned(reason, "Ada.")
    assert said == (
        "##Reason: Passage [2] says ##begin_quote## It {was} Ada. ##end_quote## ##Answer: Ada."
    )
    assert split_reasoned(said) == ("Ada.", reason)


@pytest.mark.parametrize(
    ("said", "answer", "reasoning"),
    [
        (" Ada, I think. ", " Ada, I think. ", None),
        ("##Answer: Ada.", "Ada.", None),
        ("It was her.\n##Answer:\nAda.", "Ada.", "It was her."),
        (
            "##Reason: Passage [1] says ##begin_quote## It was",
            "",
            "Passage [1] says ##begin_quote## It was",
        ),
    ],
)
def test_an_answer_without_all_markers_is_still_read(
    said: str, answer: str, reasoning: str | None
) -> None:
    assert split_reasoned(said) == (answer, reasoning)
