"""Asks a running stack for a gate, and for the items behind what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fineproof.exits import BAD, GOOD, UNDECIDED
from services.common.clients.evaluator import EvaluatorClient
from services.common.contracts.evaluator import Comparison, Report
from services.common.contracts.flips import Flip
from services.common.contracts.gate import Gate, GateCreate, GateReason

_MOST_FLIPPED = 12  # comparisons whose items are fetched


@dataclass(frozen=True)
class Decided:
    """A gate with the comparisons it looked at, and the largest losses and gains of each."""

    gate: Gate
    report: Report
    comparisons: list[Comparison]
    flips: list[Flip]

    @property
    def exit_code(self) -> int:
        """1 where anything is known to be wrong; 2 where all that is missing is knowledge."""
        if self.gate.passed:
            return GOOD
        return UNDECIDED if all(map(self._undecided, self.gate.reasons)) else BAD

    def _undecided(self, reason: GateReason) -> bool:
        if reason.code != "requirement_unmet":
            return reason.code in ("not_compared", "unscored")
        at_fault = self.comparison(reason)
        return at_fault is not None and at_fault.verdict == "INCONCLUSIVE"

    def comparison(self, reason: GateReason) -> Comparison | None:
        return next(
            (
                one
                for one in self.comparisons
                if (one.condition, one.metric) == (reason.condition, reason.metric)
            ),
            None,
        )

    def reasons(self, comparison: Comparison) -> list[GateReason]:
        """Those that lie with one comparison."""
        return [one for one in self.gate.reasons if self.comparison(one) is comparison]

    def as_json(self) -> dict[str, Any]:
        return {
            "passed": self.gate.passed,
            "exit_code": self.exit_code,
            "gate": self.gate.model_dump(mode="json"),
            "comparisons": [one.model_dump(mode="json") for one in self.comparisons],
            "flips": [one.model_dump(mode="json") for one in self.flips],
        }


async def decide(
    url: str, key: str | None, experiment_id: str, ask: GateCreate, *, flips: int
) -> Decided:
    """Decide a gate, and fetch up to ``flips`` losses and as many gains of each comparison that
    it requires or that keeps it shut."""
    async with EvaluatorClient.connect(url, key) as evaluator:
        report = await evaluator.report(experiment_id)
        gate = await evaluator.decide_gate(experiment_id, ask)
        family = [one for one in report.comparisons if one.primary and one.arm == gate.arm]
        looked_at = _looked_at(gate, family)
        shown: list[Flip] = []
        for one in looked_at[: _MOST_FLIPPED if flips else 0]:
            for outcome in ("lost", "gained"):
                page = await evaluator.flips(
                    experiment_id,
                    arm=gate.arm,
                    condition=one.condition,
                    metric=one.metric,
                    outcome=outcome,
                    limit=flips,
                )
                shown += page.data
    return Decided(gate, report, family, shown)


def _looked_at(gate: Gate, family: Sequence[Comparison]) -> list[Comparison]:
    named = {(one.condition, one.metric) for one in (*gate.reasons, *(gate.policy.required or ()))}
    return [one for one in family if (one.condition, one.metric) in named]
