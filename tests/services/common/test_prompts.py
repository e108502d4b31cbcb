from dataclasses import dataclass

from services.common.prompts import render_messages


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
