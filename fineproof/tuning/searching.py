"""Searches for a candidate that helps, and lets questions it was not chosen by decide.

A candidate that was picked for its score on some questions looks better on these than it is, and
the more were tried the more so (Cawley and Talbot 2010, JMLR 11). The last word therefore belongs
to the other half of the questions, about other documents, which is asked once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fineproof.experiment.dataset import Dataset
from fineproof.experiment.specification import Arm, Specification
from fineproof.tuning.candidates import Candidate
from fineproof.tuning.choosing import Round, Scope, best, next_step
from fineproof.tuning.halves import Halves
from fineproof.tuning.record import Search, Tried, adapter_of
from services.common.contracts.evaluator import Report
from services.common.contracts.generator import Condition

Measure = Callable[[Specification, Dataset], Awaitable[Report]]
"""Runs an experiment on a half of the data; the specification's name is the round's."""


@dataclass(frozen=True)
class Question:
    """What every candidate is asked, alike in all rounds."""

    condition: Condition = "retrieved"
    metrics: tuple[str, ...] = ("contains_answer", "token_f1")
    max_tokens: int = 128
    max_num_results: int = 3
    within_document: bool = False

    def study(self, name: str, arm: Arm) -> Specification:
        """``arm`` against the base. What it says closed book decides nothing, but tells what it
        remembers from what it reads: remedies follow from that."""
        content: dict[str, Any] = {
            "name": name,
            "arms": [{"name": "base"}, arm],
            "conditions": list(dict.fromkeys((self.condition, "closed_book"))),
            "primary_conditions": [self.condition],
            "metrics": list(self.metrics),
            "sampling": {"max_tokens": self.max_tokens},
            "retrieval": {
                "max_num_results": self.max_num_results,
                "within_document": self.within_document,
            },
        }
        return Specification.model_validate(content)


async def search(
    record: Search,
    halves: Halves,
    scope: Scope,
    question: Question,
    *,
    measure: Measure,
    told: Callable[[Search, str], None],
) -> None:
    """Fill ``record``; ``told`` hears of every step as it stands then, and what comes next.

    Deterministic but for what ``measure`` finds: begun again, it goes the same way.
    """
    history: list[Round] = []
    while (step := next_step(history, scope)).candidate is not None:
        candidate, number = step.candidate, len(history) + 1
        told(record, f"Round {number} of {scope.rounds}: {candidate.words}. {step.because}")
        study = question.study(f"round-{number}", _to_be_tuned(candidate))
        history.append(Round(candidate, await measure(study, halves.search.dataset)))
        record.rounds.append(Tried.of(number, history[-1], step.because))
    record.ended = step.because
    chosen = best(history)
    told(
        record,
        f"{step.because} Round {chosen.number} ({chosen.round.candidate.words}) is confirmed on "
        f"the other half of the questions: {chosen.because}.",
    )
    arm = Arm(name=chosen.round.candidate.name, model=adapter_of(chosen.round.report))
    report = await measure(question.study("confirmation", arm), halves.confirmation.dataset)
    record.confirm(chosen, report)


def _to_be_tuned(candidate: Candidate) -> Arm:
    asked = candidate.hyperparameters().model_dump()
    tune = {"hyperparameters": asked, "seeds": [candidate.seed]}
    return Arm.model_validate({"name": candidate.name, "tune": tune})
