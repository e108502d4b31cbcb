"""The rule that turns evidence into one of four words, and the words into a sentence."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.common.contracts.evaluator import Comparison, Verdict
from services.common.contracts.generator import Condition
from services.evaluator.statistics.missing import Bounds
from services.evaluator.statistics.multiplicity import Corrected
from services.evaluator.statistics.paired import ROUNDING, Contrast
from services.evaluator.statistics.power import MIN_CLUSTERS, clusters_needed, items_needed


@dataclass(frozen=True)
class Decision:
    verdict: Verdict
    notes: tuple[str, ...] = ()
    n_needed: int | None = None


UNQUALIFIED = Decision("INCONCLUSIVE", ("shown only: its judge has not passed the exam",))


def decide(
    evidence: Contrast,
    corrected: Corrected,
    *,
    margin: float,
    alpha: float,
    higher_is_better: bool | None,
    bounds: Bounds | None = None,
) -> Decision:
    """Judge one comparison; the first that holds:

    1. EQUIVALENT: the 1 − 2·alpha interval lies inside ±margin (two one-sided tests at alpha,
       Schuirmann 1987), and so do the exact limits of yes-or-no answers that changed.
    2. HELPS or HURTS: the interval at the level corrected for the family excludes 0, and the
       corrected sign-flip p agrees. The bootstrap alone is too sure of a few documents.
    3. INCONCLUSIVE, with the number of items that would settle it at 80 % power.

    ``evidence`` is of the pairs that have both scores; ``bounds`` of all, with what is unscored at
    the ends of the scale. A verdict stands only where its direction, or its lying inside the
    margin, does so at both ends; where but its significance goes, a note says so.
    """
    decision = _of_scored(
        evidence, corrected, margin=margin, alpha=alpha, higher_is_better=higher_is_better
    )
    if bounds is None or decision.verdict == "INCONCLUSIVE":
        return decision
    return _bounded(decision, bounds, evidence, corrected, margin=margin, alpha=alpha)


def _of_scored(
    evidence: Contrast,
    corrected: Corrected,
    *,
    margin: float,
    alpha: float,
    higher_is_better: bool | None,
) -> Decision:
    if higher_is_better is None:
        return Decision(
            "INCONCLUSIVE", ("describes the answers: neither side of it is the better one",)
        )
    if evidence.identical:
        return Decision("EQUIVALENT", _if_small(evidence, margin))
    if evidence.data.clusters < MIN_CLUSTERS:
        few = f"{evidence.data.clusters} documents are too few for any verdict"
        return _with_documents(few, evidence, corrected, margin, alpha)
    told_apart = _excludes_zero(evidence, corrected.alpha) and corrected.p <= alpha
    if _inside(evidence.equivalence(alpha), margin):
        noted = ("a difference can be told, but it is smaller than the margin",)
        return Decision("EQUIVALENT", noted if told_apart else ())
    if told_apart:
        better = (evidence.estimate > 0) == higher_is_better
        return Decision("HELPS" if better else "HURTS")
    level = f"no difference at all at a level of {corrected.alpha:.2g}"
    if evidence.data.clusters < (enough := clusters_needed(corrected.alpha)):
        few = f"{evidence.data.clusters} documents can tell {level}, {enough} could"
        return _with_documents(few, evidence, corrected, margin, alpha)
    if evidence.least_p > corrected.alpha:
        few = f"so few permutations can tell {level}, {math.ceil(1 / corrected.alpha)} could"
        return Decision("INCONCLUSIVE", (few,))
    notes: tuple[str, ...] = ()
    if _excludes_zero(evidence, alpha):
        why = "one of so many comparisons may by chance"
        if corrected.alpha >= alpha:  # it was the only one
            why = "the permutation test does not agree"
        notes = (f"its own interval excludes 0, but {why}",)
    return Decision("INCONCLUSIVE", notes, _n_needed(evidence, corrected, margin, alpha))


def _with_documents(
    why: str, evidence: Contrast, corrected: Corrected, margin: float, alpha: float
) -> Decision:
    """Undecided for lack of documents: so many items that there are enough of these, too."""
    documents = evidence.data.n / evidence.data.clusters * clusters_needed(corrected.alpha)
    needed = _n_needed(evidence, corrected, margin, alpha) or 0
    return Decision("INCONCLUSIVE", (why,), max(math.ceil(documents), needed))


def _n_needed(evidence: Contrast, corrected: Corrected, margin: float, alpha: float) -> int | None:
    return items_needed(
        n=evidence.data.n,
        standard_error=evidence.standard_error,
        diff=evidence.estimate,
        margin=margin,
        alpha=corrected.alpha,
        equivalence_alpha=alpha,
        fixed_variance=evidence.fixed_variance,
        flips=evidence.flips,
    )


def _bounded(
    decision: Decision,
    bounds: Bounds,
    evidence: Contrast,
    corrected: Corrected,
    *,
    margin: float,
    alpha: float,
) -> Decision:
    """The decision, held against the worst and the best that is unscored could have been."""
    low, high = bounds.of_mean
    if decision.verdict == "EQUIVALENT":
        stands = _inside((low, high), margin)
        sure = stands and all(
            _inside(end.equivalence(alpha), margin) for end in (bounds.lowest, bounds.highest)
        )
    else:
        rises = evidence.estimate > 0
        stands = low > 0 if rises else high < 0
        sure = stands and _told(bounds.lowest if rises else bounds.highest, corrected.alpha)
    where = f"the {bounds.unscored} unscored answers put the difference anywhere from"
    spoken = f"{where} {signed(low)} to {signed(high)}"
    if not stands:
        reason = f"{spoken}: those that are scored alone would be {decision.verdict}"
        return Decision("INCONCLUSIVE", (*decision.notes, reason))
    if not sure:
        reason = f"{spoken}: at the worst of it this would be INCONCLUSIVE"
        return Decision(decision.verdict, (*decision.notes, reason))
    return decision


def _told(end: Contrast, alpha: float) -> bool:
    return _excludes_zero(end, alpha) and end.p <= alpha


def _inside(interval: tuple[float, float], margin: float) -> bool:
    low, high = interval
    return -margin < low and high < margin


def _excludes_zero(evidence: Contrast, alpha: float) -> bool:
    low, high = evidence.interval(1 - alpha)
    least = ROUNDING * evidence.bound
    return low > least or high < -least


def _if_small(evidence: Contrast, margin: float) -> tuple[str, ...]:
    # The rule of three: 0 of n seen is compatible with 3 in n (Hanley and Lippman-Hand 1983). Of
    # items that stand or fall together nobody knows how many the documents are worth: one each.
    unseen = min(1.0, 3 / evidence.data.effective)
    if unseen * evidence.bound <= margin:
        return ()
    seen = f"{evidence.data.n} items"
    if evidence.data.clusters < evidence.data.n:
        seen += f" in {evidence.data.clusters} clusters"
    return (f"no item differs, but {seen} cannot exclude that {unseen:.0%} would",)


_RAG_FIRST: tuple[Condition, ...] = ("retrieved", "oracle", "distractors", "closed_book")


def focus_of(conditions: Sequence[Condition]) -> Condition:
    """The condition a team lives with: the pipeline as it runs, else what comes nearest."""
    return next(condition for condition in _RAG_FIRST if condition in conditions)


def headline(comparisons: Sequence[Comparison], conditions: Sequence[Condition]) -> str:
    """One sentence over all primary comparisons: what each tuned arm does in the RAG pipeline
    first, then in how many of the other comparisons it does what. ``conditions`` are those
    declared."""
    primary = [comparison for comparison in comparisons if comparison.primary]
    if not primary:
        return "Nothing could be compared."
    focus = focus_of(conditions)
    arms = dict.fromkeys(comparison.arm for comparison in primary)
    clauses = [_clause([c for c in primary if c.arm == arm], arm, focus) for arm in arms]
    return "; ".join(clauses) + "."


def _clause(comparisons: Sequence[Comparison], arm: str, focus: Condition) -> str:
    here = [c for c in comparisons if c.condition == focus]
    elsewhere = [c for c in comparisons if c.condition != focus]
    parts = [effect(c) for word in ("HURTS", "HELPS") for c in here if c.verdict == word]
    for word in ("EQUIVALENT", "INCONCLUSIVE"):
        metrics = [c.metric for c in here if c.verdict == word]
        if metrics:
            parts.append(f"is {word} on {focus} {_and(metrics)}")
    clause = f"{arm} {_and(parts)}" if parts else f"{arm} was not scored under {focus}"
    counted = [
        f"{count} {word}"
        for word in ("HURTS", "HELPS", "EQUIVALENT", "INCONCLUSIVE")
        if (count := sum(c.verdict == word for c in elsewhere))
    ]
    return f"{clause} (other conditions: {', '.join(counted)})" if counted else clause


def effect(comparison: Comparison) -> str:
    low, high = comparison.ci95
    return (
        f"{comparison.verdict} {comparison.condition} {comparison.metric} by "
        f"{abs(comparison.diff):.2f} (95 % interval {signed(low)} to {signed(high)})"
    )


def signed(value: float) -> str:
    """Two decimals with a sign, a true minus; 0.00 has none."""
    text = f"{abs(value):.2f}"
    if float(text) == 0:
        return text
    return f"{'−' if value < 0 else '+'}{text}"


def _and(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
