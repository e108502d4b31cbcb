"""Places in texts: filled from the item, or told to be empty."""

import pytest

from services.common.errors import InvalidRequest
from services.evaluator.evals.wording import MOST_TEXT, Unfilled, check, fill

NAMES = {
    "item": {"a": "x", "n": 2, "list": [{"b": "y"}], "my key": None, "yes": True},
    "sample": {"output_text": '{"answer": [1, "z"]}'},
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{item.a}} and {{ item.a }}", "x and x"),
        ("{{item.n}} {{item.yes}} {{item.my key}}", "2 true null"),
        ("{{item.list[0].b}} {{item.list}}", 'y [{"b": "y"}]'),
        ("{{sample.output_json.answer[1]}}", "z"),
        ("{item.a} {{}", "{item.a} {{}"),
        ("", ""),
    ],
)
def test_places_are_filled_with_text_or_json(template: str, text: str) -> None:
    check(template, allowed=("item", "sample"), where="here")
    assert fill(template, NAMES) == text


def test_what_is_filled_in_is_not_a_template() -> None:
    assert fill("{{item.a}}", {"item": {"a": "{{item.b}}", "b": "secret"}}) == "{{item.b}}"


@pytest.mark.parametrize(
    "template",
    ["{{item.b}}", "{{item.list[7]}}", "{{item.a.b}}", "{{item.a[0].b}}", "{{sample.nothing}}"],
)
def test_what_is_missing_is_said_and_not_left_out(template: str) -> None:
    with pytest.raises(Unfilled, match="there is no"):
        fill(template, NAMES)


def test_an_answer_that_is_no_json_has_no_output_json() -> None:
    for text in ("prose", '{"a": ', "[" * 100_000):
        with pytest.raises(Unfilled, match="not JSON"):
            fill("{{sample.output_json.a}}", {"sample": {"output_text": text}})


@pytest.mark.parametrize(
    "template", ["{{secret.x}}", "{{item}}", "{{sample}}", "{{ }}", "{{1 + 1}}", "{{item.x()[}}"]
)
def test_a_place_nothing_could_fill_is_refused(template: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        check(template, allowed=("item", "sample"), where="here")
    assert refusal.value.code == "invalid_template"


def test_messages_for_the_model_know_no_sample_yet() -> None:
    with pytest.raises(InvalidRequest):
        check("{{sample.output_text}}", allowed=("item",), where="here")


def test_a_text_does_not_grow_without_bound() -> None:
    with pytest.raises(Unfilled, match="characters"):
        fill("{{item.a}}" * 100, {"item": {"a": "x" * (MOST_TEXT // 50)}})
