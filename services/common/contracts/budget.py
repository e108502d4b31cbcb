"""The evaluator's wire of cost: what an experiment may spend, will spend, and has spent."""

from typing import Annotated, Literal

from pydantic import Field

from services.common.contracts.base import Ask, Wire

_Amount = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]


class PriceAsk(Ask):
    """Per million tokens, in a currency of the caller's own."""

    prompt: _Amount
    completion: _Amount


class BudgetAsk(Ask):
    """The most an experiment may spend: tokens of prompts and completions together, the cost by the
    specification's prices, minutes of a worker's time. Null does not restrict."""

    max_tokens: Annotated[int, Field(ge=1, le=10**15)] | None = None
    max_cost: Annotated[float, Field(gt=0, le=1e12, allow_inf_nan=False)] | None = None
    max_minutes: Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)] | None = None


class ResumeAsk(Ask):
    """How to go on with an experiment; ``budget`` replaces the one it has."""

    budget: BudgetAsk | None = None


class Spent(Wire):
    """Over all workers so far. ``asked`` are answers generated, ``cached`` those that had been said
    before, which cost nothing."""

    asked: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    judge_tokens: int = 0
    cost: float = 0.0
    minutes: float = 0.0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens + self.judge_tokens


class SmallestEffect(Wire):
    """The smallest true difference found with 80 % power; null where there are too few documents.

    ``deviation`` is the standard deviation of one item's paired difference, of past runs of the
    metric or, where there are none, the worst case of its scale.
    """

    metric: str
    effect: float | None
    deviation: float
    source: Literal["past_runs", "worst_case"]


class Estimate(Wire):
    """What an experiment will take if nothing of it was asked before.

    ``cost`` is null where an arm or the judge has no price. ``assumptions`` say how the figures
    were come by, ``over_budget`` which limits of ``budget`` they pass.
    """

    object: Literal["experiment.estimate"] = "experiment.estimate"
    spec_sha256: str
    items: int
    documents: int
    answers: int
    prompt_tokens: int
    completion_tokens: int
    judge_tokens: int
    minutes: float
    cost: float | None
    smallest_effects: list[SmallestEffect]
    assumptions: list[str]
    over_budget: list[str]

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens + self.judge_tokens
