"""What an experiment has spent, and whether it may go on."""

from services.common.contracts.budget import BudgetAsk, PriceAsk, Spent
from services.common.errors import FineproofError


class BudgetExceeded(FineproofError):
    """402 is what HTTP has for it; ``resume`` with a larger budget goes on where it stopped."""

    status, type, code = 402, "invalid_request_error", "budget_exceeded"


def plus(*each: Spent) -> Spent:
    return Spent.model_validate(
        {name: sum(getattr(one, name) for one in each) for name in Spent.model_fields}
    )


def cost_of(price: PriceAsk | None, *, prompt_tokens: int, completion_tokens: int) -> float:
    """In the currency of ``price``, which is per million tokens; without one nothing is counted."""
    if price is None:
        return 0.0
    return (prompt_tokens * price.prompt + completion_tokens * price.completion) / 1e6


class Ledger:
    """What was spent since it was last written down."""

    def __init__(self) -> None:
        self._new = Spent()

    def add(self, more: Spent) -> None:
        self._new = plus(self._new, more)

    def take(self) -> Spent:
        new, self._new = self._new, Spent()
        return new


class JudgeLedger(Ledger):
    def __init__(self, price: PriceAsk | None) -> None:
        super().__init__()
        self._price = price

    def hear(self, prompt_tokens: int, completion_tokens: int) -> None:
        cost = cost_of(
            self._price, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens
        )
        self.add(Spent(judge_tokens=prompt_tokens + completion_tokens, cost=cost))


def beyond(budget: BudgetAsk, *, tokens: int, cost: float | None, minutes: float) -> list[str]:
    """The limits of ``budget`` that so much is beyond, each as a sentence; none is the good case.

    A ``cost`` of None is not known, and no limit holds it.
    """
    said: list[str] = []
    if budget.max_tokens is not None and tokens > budget.max_tokens:
        said.append(f"{tokens} tokens are more than max_tokens, {budget.max_tokens}")
    if budget.max_cost is not None and cost is not None and cost > budget.max_cost:
        said.append(f"a cost of {cost:.4g} is more than max_cost, {budget.max_cost:g}")
    if budget.max_minutes is not None and minutes > budget.max_minutes:
        said.append(f"{minutes:.4g} minutes are more than max_minutes, {budget.max_minutes:g}")
    return said


def check(budget: BudgetAsk, spent: Spent) -> None:
    """Raises ``BudgetExceeded`` once a limit was passed."""
    limits = beyond(budget, tokens=spent.tokens, cost=spent.cost, minutes=spent.minutes)
    if limits:
        raise BudgetExceeded(
            f"Stopped, what is answered is kept: {'; '.join(limits)}. Raise the budget by "
            "POST /resume to go on."
        )
