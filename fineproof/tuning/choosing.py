"""Which candidate is tried next, and which was the best: from the reports so far. Pure.

1. A round that helps ends the search, and so does the last one allowed.
2. What hurts comes with remedies: the first that makes a candidate not tried yet is taken.
3. Else the ladder goes on from the best candidate so far: a recipe not tried yet, from ``qa`` to
   ``rag`` to ``raft``, then half its epochs, then half its rank; then so from the next best.

Candidates are finitely many and none is tried twice: every search ends.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fineproof.tuning.candidates import RECIPES, Candidate
from services.common.contracts.evaluator import Comparison, Report, Verdict
from services.common.contracts.findings import Action, Remedy
from services.common.contracts.hyperparameters import Recipe

LOWER_IS_BETTER = frozenset({"refusal"})
"""Of the metrics that may decide; the others gain by rising."""
_HALVINGS: tuple[tuple[Action, str], ...] = (("fewer_epochs", "epochs"), ("smaller_rank", "rank"))


@dataclass(frozen=True)
class Round:
    """One candidate against the base model, and what was found."""

    candidate: Candidate
    report: Report


@dataclass(frozen=True)
class Scope:
    """Where a search begins, how far it may go, and the ``recipes`` that the data can teach."""

    start: Candidate
    rounds: int = 4
    recipes: tuple[Recipe, ...] = RECIPES


@dataclass(frozen=True)
class Step:
    """What to try next and why; without a ``candidate`` the search is over."""

    candidate: Candidate | None
    because: str


@dataclass(frozen=True)
class Best:
    """``number`` counts rounds from 1."""

    number: int
    round: Round
    because: str


def next_step(history: Sequence[Round], scope: Scope) -> Step:
    if not history:
        return Step(scope.start, "The search was told to begin there.")
    if standing(history[-1].report) == "HELPS":
        return Step(None, f"Round {len(history)} helps.")
    if len(history) >= scope.rounds:
        return Step(None, f"All {scope.rounds} rounds are used up.")
    tried = {one.candidate for one in history}
    for candidate, because in (*_remedies(history[-1]), *_ladder(history, scope)):
        if candidate not in tried and candidate.recipe in scope.recipes:
            return Step(candidate, because)
    return Step(None, "Nothing is left to try.")


def best(history: Sequence[Round]) -> Best:
    """The round to confirm: one that helps, else the best estimate of those that hurt nothing, else
    of all; the earlier of equals. ``history`` is not empty."""
    number, found = min(enumerate(history, 1), key=lambda numbered: _rank(numbered[1]))
    verdict = standing(found.report)
    if verdict == "HELPS":
        because = "it helps"
    elif len(history) == 1:
        because = "no other was tried"
    else:
        among = "" if verdict == "HURTS" else ", of those that hurt nothing"
        because = f"its mean difference, {estimate(found.report):+.3f}, is the best{among}"
    return Best(number, found, because)


def standing(report: Report) -> Verdict:
    """The declared comparisons in a word: HURTS where any does, else HELPS where any does."""
    verdicts = {one.verdict for one in family(report)}
    if "HURTS" in verdicts:
        return "HURTS"
    if "HELPS" in verdicts:
        return "HELPS"
    return "EQUIVALENT" if verdicts == {"EQUIVALENT"} else "INCONCLUSIVE"


def estimate(report: Report) -> float:
    """The mean difference over the declared metrics, which all lie from 0 to 1; more is better."""
    gains = [-c.diff if c.metric in LOWER_IS_BETTER else c.diff for c in family(report)]
    return sum(gains) / len(gains) if gains else float("-inf")


def family(report: Report) -> list[Comparison]:
    """What was declared to decide."""
    return [one for one in report.comparisons if one.primary]


def advice(found: Round) -> list[Remedy]:
    """Remedies that are no way of tuning: for the person to decide."""
    remedies = found.report.remedies
    return [one for one in remedies if found.candidate.remedied(one.action) is None]


def _rank(found: Round) -> tuple[int, float]:
    place = {"HELPS": 0, "HURTS": 2}.get(standing(found.report), 1)
    return place, -estimate(found.report)


def _remedies(last: Round) -> Iterator[tuple[Candidate, str]]:
    for remedy in last.report.remedies:
        if (candidate := last.candidate.remedied(remedy.action)) is not None:
            yield candidate, f"{remedy.advice} {remedy.because}"


def _ladder(history: Sequence[Round], scope: Scope) -> Iterator[tuple[Candidate, str]]:
    ranked = [one.candidate for one in sorted(history, key=_rank)]
    met = {candidate.recipe for candidate in ranked}
    for recipe in RECIPES[RECIPES.index(scope.start.recipe) + 1 :]:
        if recipe not in met:
            yield ranked[0].with_recipe(recipe), f"The ladder's next recipe is `{recipe}`."
    for candidate in ranked:
        for action, what in _HALVINGS:
            if (halved := candidate.remedied(action)) is not None:
                yield halved, f"The ladder halves the {what} of {candidate.words}."
