"""What is advised, by what was seen."""

from typing import Any

import pytest

from services.common.contracts.arms import ArmAsk
from services.common.contracts.evaluator import Comparison, Verdict
from services.common.contracts.findings import Cause, Losses
from services.common.contracts.generator import Condition
from services.evaluator.remedies import remedies


def comparison(condition: Condition, verdict: Verdict) -> Comparison:
    return Comparison(
        arm="a",
        baseline="base",
        condition=condition,
        metric="contains_answer",
        base=0.5,
        tuned=0.3,
        diff=-0.2,
        ci95=(-0.3, -0.1),
        p=0.01,
        p_holm=0.02,
        n=60,
        clusters=20,
        verdict=verdict,
        primary=True,
    )


def lost(**causes: int) -> list[Losses]:
    counted: Any = causes
    return [
        Losses(
            arm="a",
            condition="retrieved",
            answers=60,
            lost=sum(causes.values()),
            causes=counted,
            examples=[],
        )
    ]


def advised(
    recipe: str = "qa",
    condition: Condition = "retrieved",
    verdict: Verdict = "HURTS",
    losses: list[Losses] | None = None,
    forgets: bool = False,
    **tune: Any,
) -> list[str]:
    arm = ArmAsk.model_validate(
        {"name": "a", "tune": {"base_model": "b", "training_file": "f", "hyperparameters": tune}}
    )
    found = remedies(arm, recipe, [comparison(condition, verdict)], losses or [], forgets=forgets)
    return [remedy.action for remedy in found]


@pytest.mark.parametrize("verdict", ["HELPS", "EQUIVALENT", "INCONCLUSIVE"])
def test_only_what_hurts_is_given_advice(verdict: Verdict) -> None:
    assert advised(verdict=verdict, losses=lost(context_ignored=9)) == []


def test_a_model_tuned_on_bare_questions_is_tuned_with_passages() -> None:
    assert advised() == ["recipe_rag"]
    assert advised(losses=lost(context_ignored=9)) == ["recipe_rag", "recipe_raft"]


def test_one_tuned_with_passages_that_ignores_them_is_tuned_by_raft() -> None:
    assert advised("rag", losses=lost(context_ignored=9, format=1)) == ["recipe_raft"]
    assert advised("rag", losses=lost(format=9)) == []
    assert advised("raft", losses=lost(context_ignored=9)) == []


def test_one_that_knows_less_is_tuned_less() -> None:
    gentler = ["fewer_epochs", "earlier_checkpoint", "smaller_rank"]
    assert advised("rag", "closed_book", n_epochs=4) == gentler
    assert advised("rag", verdict="HELPS", forgets=True) == gentler
    assert advised("raft", losses=lost(parametric_override=5)) == gentler
    assert advised("rag", "closed_book", n_epochs=1, lora={"r": 8}) == []


@pytest.mark.parametrize(
    ("cause", "action"),
    [("answer_cut_short", "more_tokens"), ("retrieval_missed", "more_passages")],
)
def test_what_tuning_cannot_mend_is_said_too(cause: Cause, action: str) -> None:
    assert action in advised("raft", losses=lost(**{cause: 3, "format": 9}))
    assert action not in advised("raft", losses=lost(**{cause: 2, "format": 9}))


def test_advice_names_the_figures_it_rests_on() -> None:
    arm = ArmAsk.model_validate(
        {
            "name": "a",
            "tune": {
                "base_model": "b",
                "training_file": "f",
                "hyperparameters": {"n_epochs": 4, "lora": {"r": 32}},
            },
        }
    )
    found = remedies(arm, "raft", [comparison("retrieved", "HURTS")], lost(parametric_override=3))
    assert [remedy.advice for remedy in found][::2] == [
        "Tune for 2 of 4 epochs.",
        "Tune with rank 16 (`lora.r`).",
    ]
    assert found[0].because == "3 of 3 lost answers: parametric_override."
