"""Counts of what a run has done so far, kept with it so that no list has to count items."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from services.evaluator.evals.asking import Said
from services.evaluator.evals.schemas import CriterionResult, Json, ModelUsage, ResultCounts

Status = Literal["pass", "fail", "error"]


@dataclass
class Tally:
    counts: ResultCounts = field(default_factory=ResultCounts)
    criteria: dict[str, CriterionResult] = field(default_factory=dict)
    usage: dict[str, ModelUsage] = field(default_factory=dict)

    @classmethod
    def load(cls, kept: Json, criteria: Sequence[str]) -> "Tally":
        """``criteria`` that nothing was counted for yet are there with zeros."""
        counted = {each["testing_criteria"]: each for each in kept.get("criteria", [])}
        return cls(
            ResultCounts.model_validate(kept.get("counts", {})),
            {
                name: CriterionResult.model_validate(counted.get(name, {"testing_criteria": name}))
                for name in criteria
            },
            {each["model_name"]: ModelUsage.model_validate(each) for each in kept.get("usage", [])},
        )

    def dump(self) -> Json:
        return {
            "counts": self.counts.model_dump(),
            "criteria": [each.model_dump() for each in self.criteria.values()],
            "usage": [each.model_dump() for each in self.usage.values()],
        }

    def add(self, status: Status, results: Iterable[Json], asked: Iterable[Said]) -> None:
        """Count one item, with all that models were asked for it."""
        _count(self.counts, status)
        self.counts.total += 1
        for result in results:
            scored = result["score"] is not None
            _count(
                self.criteria[result["name"]],
                ("pass" if result["passed"] else "fail") if scored else "error",
            )
        for said in asked:
            self._use(said)

    def _use(self, said: Said) -> None:
        usage = self.usage.setdefault(said.model, ModelUsage(model_name=said.model))
        if said.known:
            usage.cached_count += 1
            return
        usage.invocation_count += 1
        for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "total_tokens"):
            setattr(usage, name, getattr(usage, name) + said.usage[name])


def _count(counts: ResultCounts | CriterionResult, status: Status) -> None:
    if status == "pass":
        counts.passed += 1
    elif status == "fail":
        counts.failed += 1
    else:
        counts.errored += 1
