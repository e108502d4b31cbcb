"""Forms are held to their scores, and read strictly."""

import math
from collections.abc import Sequence
from typing import Any

import pytest

from services.evaluator.judges.forms import Manner, chances, constrained, read, weighted

SCORES = ("1", "2", "3", "4", "5")
CHOICE = Manner("choice", many=True, logprobs=True)
FREE = Manner("none", many=True, logprobs=True)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("4", "4"),
        (" 4\n", "4"),
        ("4.", "4"),
        ("4.0", "4"),
        ("**4**", "4"),
        ("4/5", "4"),
        ("Score: 4", "4"),
        ("- Accuracy (1-5): 4", "4"),
        ("4\n\nThe answer is right.", "4"),
        ('{"score": 4}', "4"),
        ('{"score": "4"}', "4"),
        ('{"score": 4.0}', "4"),
        ('{"sc\\u006fre": 4}', "4"),
    ],
)
def test_a_form_with_one_score_is_read(text: str, score: str) -> None:
    assert read(text, SCORES) == score


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "   ",
        "I would give this answer a 4.",
        "The 5 points it makes deserve: 2",
        "4 or 5",
        "45",
        "-1",
        "0",
        "6",
        "4/10",
        "3.5",
        "NaN",
        "nan",
        "Infinity",
        '{"score": NaN}',
        '{"score": true}',
        '{"score": 6}',
        '{"score": 4',
        '{"score": [4]}',
        '{"scores": 4}',
        '{"a":' * 5_000,
        "four",
        "5 5 5 5",
    ],
)
def test_what_holds_no_single_score_of_the_scale_is_not_read(text: str | None) -> None:
    assert read(text, SCORES) is None


def test_letters_are_read_as_scores_are() -> None:
    assert read(" a.", ("A", "B", "C")) == "A"
    assert read("A better answer", ("A", "B", "C")) is None


def told(tokens: dict[str, float], before: Sequence[str] = ()) -> Any:
    """Log-probabilities of a text whose last token is the first of ``tokens``."""
    tops = [{"token": token, "logprob": math.log(p)} for token, p in tokens.items()]
    content = [
        {"token": token, "logprob": 0.0, "top_logprobs": [{"token": token, "logprob": 0.0}]}
        for token in before
    ]
    return {
        "content": [
            *content,
            {"token": next(iter(tokens)), "logprob": 0.0, "top_logprobs": tops},
        ]
    }


def test_the_weighted_score_is_the_mean_over_the_scores_tokens() -> None:
    found = chances("4", told({"4": 0.5, "5": 0.3, "1": 0.2}), SCORES)
    assert weighted(found, CHOICE) == pytest.approx(0.5 * 4 + 0.3 * 5 + 0.2)


def test_tokens_with_a_blank_count_for_their_score_and_others_for_none() -> None:
    found = chances("4", told({"4": 0.4, " 4": 0.2, "The": 0.2, "2": 0.2}), SCORES)
    assert found == pytest.approx({"4": 0.6, "2": 0.2})
    assert weighted(found, FREE) == pytest.approx((0.6 * 4 + 0.2 * 2) / 0.8)


def test_a_judge_left_free_that_would_rather_talk_has_no_weighted_score() -> None:
    found = chances("4", told({"4": 0.1, "The": 0.9}), SCORES)
    assert weighted(found, FREE) is None
    assert weighted(found, CHOICE) == 4.0


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {},
        {"content": None},
        {"content": []},
        {"content": [{"token": "Well", "top_logprobs": []}]},
        {"content": [{"token": 4, "top_logprobs": [{"token": "4", "logprob": 0}]}]},
        {"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": None}]}]},
        {"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": math.nan}]}]},
        {"content": [{"token": "4", "top_logprobs": [{"token": "4", "logprob": -(10**400)}]}]},
    ],
)
def test_probabilities_that_are_not_as_agreed_are_none(logprobs: Any) -> None:
    assert chances("4", logprobs, SCORES) is None


@pytest.mark.parametrize(
    ("text", "before", "token"),
    [
        ("Accuracy (1-5): 4", ["Accuracy", " (", "1", "-", "5", "):"], " 4"),
        ("- Score: 4/5", ["-", " Score", ":", " "], "4"),
        ('{"score": 4}', ['{"', "score", '":', " "], "4"),
        ('{"reason": "1", "score": "4"}', ['{"reason": "', "1", '", "score', '": "'], "4"),
        ("Score : 4", ["Score", ":"], "4"),
        ("4", [" "], "4"),
        ("4", [], " 4"),
        ("\n4\n5", ["\n"], "4"),
    ],
)
def test_the_probabilities_are_those_of_the_score_that_is_read(
    text: str, before: list[str], token: str
) -> None:
    found = chances(text, told({token: 0.9, "5": 0.1}, before), SCORES)
    assert found == pytest.approx({"4": 0.9, "5": 0.1})


@pytest.mark.parametrize(
    ("text", "before", "token"),
    [
        ("1. Read the question", [], "1"),
        ("In 2 words: very good", ["In", " "], "2"),
        ("4", ["Let me think of 4 things.", "</think>"], "4"),
        ("Score:4", ["Score"], ":4"),
    ],
)
def test_a_number_that_is_not_the_score_has_no_probabilities(
    text: str, before: list[str], token: str
) -> None:
    assert chances(text, told({token: 1.0}, before), SCORES) is None


def test_a_form_is_held_to_its_scores_in_each_manner() -> None:
    assert constrained(CHOICE, SCORES)["structured_outputs"] == {"choice": list(SCORES)}
    assert constrained(CHOICE, SCORES)["max_tokens"] == 1
    schema = constrained(Manner("schema", many=True, logprobs=False), SCORES)
    asked = schema["response_format"]["json_schema"]["schema"]
    assert asked["properties"]["score"]["enum"] == [1, 2, 3, 4, 5]
    assert set(constrained(FREE, SCORES)) == {"logprobs", "top_logprobs", "max_tokens"}
