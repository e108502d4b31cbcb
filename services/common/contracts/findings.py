"""The evaluator's wire of what lies behind a verdict: why answers were lost, and what to try."""

from typing import Literal

from services.common.contracts.base import Wire
from services.common.contracts.generator import Condition

Cause = Literal[
    "retrieval_missed", "context_ignored", "parametric_override", "answer_cut_short", "format"
]
Action = Literal[
    "recipe_rag",
    "recipe_raft",
    "fewer_epochs",
    "earlier_checkpoint",
    "smaller_rank",
    "more_tokens",
    "more_passages",
]


class Attribution(Wire):
    """Why one answer scored worse than the baseline's on ``metric``; ``reason`` is a sentence."""

    cause: Cause
    metric: str
    reason: str


class LossExample(Wire):
    item_id: str
    question: str
    reference: str
    base: str | None
    tuned: str | None
    attribution: Attribution


class Losses(Wire):
    """Of ``answers`` that ``arm`` and the baseline were both scored on, those that got worse.

    ``causes`` add up to ``lost``; ``examples`` are the first of each cause.
    """

    arm: str
    condition: Condition
    answers: int
    lost: int
    causes: dict[Cause, int]
    examples: list[LossExample]


class ForgottenExample(Wire):
    arm: str
    question: str
    reference: str
    base: str | None
    tuned: str | None


class Remedy(Wire):
    """What to try where ``arm`` HURTS: ``advice`` says how, ``because`` what speaks for it."""

    arm: str
    action: Action
    advice: str
    because: str


class SizePoint(Wire):
    """``pairs`` is how many an arm was tuned on, 0 the base model."""

    pairs: int
    arm: str
    mean: float
    ci95: tuple[float, float]


class SizeCurve(Wire):
    """Arms that differ in how many pairs they were tuned on, and in nothing else."""

    recipe: str
    condition: Condition
    metric: str
    points: list[SizePoint]
