"""Pairs to a verdict, by the evaluator's own statistics."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from fineproof.comparison.pairing import Pairs
from fineproof.comparison.scale import Scale
from fineproof.comparison.sides import Row, Side
from fineproof.errors import UserError
from fineproof.exits import BAD, GOOD, UNDECIDED
from services.common.contracts.evaluator import Verdict
from services.evaluator.statistics.missing import Average, bounds
from services.evaluator.statistics.multiplicity import Corrected
from services.evaluator.statistics.paired import ROUNDING, Contrast, Resampling, contrast
from services.evaluator.verdict import Decision, decide

_EXAMPLES = 5
_UNLIKE = 4  # times as high as scores from 0 to 1: from 1 to 5, or percent

EXIT_CODES: dict[Verdict, int] = {
    "HELPS": GOOD,
    "EQUIVALENT": GOOD,
    "HURTS": BAD,
    "INCONCLUSIVE": UNDECIDED,
}


@dataclass(frozen=True)
class How:
    """How to judge. ``margin`` None: the scale's own."""

    margin: float | None = None
    alpha: float = 0.05
    seed: int = 0
    resamples: int = 10_000
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if self.margin is not None and not 0 < self.margin < math.inf:
            raise UserError("--margin is a number above 0, in the score's own units.")
        for option, value, low, high in (
            ("--alpha", self.alpha, 1e-6, 0.2),
            ("--resamples", self.resamples, 1_000, 200_000),
            ("--seed", self.seed, 0, 2**31 - 1),
        ):
            if not low <= value <= high:
                raise UserError(f"{option} lies between {low:g} and {high:g}.")


@dataclass(frozen=True)
class FileRead:
    """``only_here`` counts items the other file does not hold, ``examples`` names the first of
    them; ``repeated`` counts those averaged over several lines."""

    path: str
    format: str
    items: int
    unscored: int
    only_here: int
    examples: list[str]
    repeated: int


@dataclass(frozen=True)
class Result:
    """One comparison. ``base``, ``tuned`` and ``diff`` (tuned minus base) are means over the ``n``
    items scored in both files, of shares that pass where there is a ``threshold``. ``unscored``
    counts the pairs that lack a score, be it of one repeat, and ``bounds`` is where ``diff`` could
    lie over all items in common, had those the worst or the best of the scale; null where nothing
    is unscored, or nobody knows where the scale ends."""

    verdict: Verdict
    exit_code: int
    score: str
    threshold: float | None
    base: float
    tuned: float
    diff: float
    ci95: tuple[float, float]
    interval: tuple[float, float]
    equivalence_interval: tuple[float, float]
    alpha: float
    p: float
    n: int
    clusters: int
    margin: float | None
    margin_from: str
    scale: str
    higher_is_better: bool
    paired_by: str | None
    clustered_by: str | None
    unscored: int
    bounds: tuple[float, float] | None
    gained: int
    lost: int
    n_needed: int | None
    notes: list[str]
    resamples: int
    seed: int
    files: dict[str, FileRead] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def judge(pairs: Pairs, how: How) -> Result:
    """Weigh what was paired; the rules are :func:`services.evaluator.verdict.decide`'s."""
    scored = pairs.scored
    scale = pairs.scale
    margin, margin_from = _margin(how, scale)
    differences = [
        # Means of equal repeats may differ in their last digits, which is much of large scores.
        0.0 if math.isclose(base, tuned, rel_tol=ROUNDING) else tuned - base
        for base, tuned, _ in scored
    ]
    resampling = Resampling(resamples=how.resamples, permutations=how.resamples, seed=how.seed)
    evidence = contrast(
        differences,
        [cluster for _, _, cluster in scored],
        how=resampling,
        bound=max(scale.high - scale.low, 1e-12),
    )
    unscored = sum(pair.unscored for pair in pairs.pairs)
    ends = None
    if scale.known:
        ends = bounds(
            [_average(pair.base) for pair in pairs.pairs],
            [_average(pair.tuned) for pair in pairs.pairs],
            [pair.cluster for pair in pairs.pairs],
            low=scale.low,
            high=scale.high,
            how=resampling,
        )
    decision = decide(
        evidence,
        Corrected(p=evidence.p, alpha=how.alpha),
        margin=margin or 0.0,
        alpha=how.alpha,
        higher_is_better=how.higher_is_better,
        bounds=ends,
    )
    if unscored and not scale.known:
        decision = _unbounded(decision, unscored)
    better = 1 if how.higher_is_better else -1
    return Result(
        verdict=decision.verdict,
        exit_code=EXIT_CODES[decision.verdict],
        score=pairs.base.score,
        threshold=pairs.threshold,
        base=fmean(base for base, _, _ in scored),
        tuned=fmean(tuned for _, tuned, _ in scored),
        diff=evidence.estimate,
        ci95=evidence.interval(0.95),
        interval=evidence.interval(1 - how.alpha),
        equivalence_interval=evidence.equivalence(how.alpha),
        alpha=how.alpha,
        p=evidence.p,
        n=evidence.data.n,
        clusters=evidence.data.clusters,
        margin=margin,
        margin_from=margin_from,
        scale=scale.name,
        higher_is_better=how.higher_is_better,
        paired_by=pairs.paired_by,
        clustered_by=pairs.clustered_by,
        unscored=unscored,
        bounds=None if ends is None else ends.of_mean,
        gained=sum(better * difference > 0 for difference in differences),
        lost=sum(better * difference < 0 for difference in differences),
        n_needed=decision.n_needed,
        notes=[*decision.notes, *_mcnemar(scored), *_notes(pairs, evidence, margin)],
        resamples=how.resamples,
        seed=how.seed,
        files={
            "base": _read(pairs.base, pairs.tuned),
            "tuned": _read(pairs.tuned, pairs.base),
        },
    )


def _average(row: Row) -> Average:
    return Average(row.score, unscored=row.unscored, asked=row.lines)


def _unbounded(decision: Decision, unscored: int) -> Decision:
    """Where a scale ends nowhere, so does what the unscored could have been."""
    if decision.verdict == "INCONCLUSIVE":
        return decision
    reason = (
        f"{unscored} pairs lack a score, and it is not known how low or high it could have been: "
        f"those that are scored alone would be {decision.verdict}; --scale says where scores end"
    )
    return Decision("INCONCLUSIVE", (*decision.notes, reason))


def _margin(how: How, scale: Scale) -> tuple[float | None, str]:
    if how.margin is not None:
        return how.margin, "--margin"
    if scale.margin is not None:
        return scale.margin, f"the scale {scale.name}"
    return None, "nowhere"


def _mcnemar(scored: Sequence[tuple[float, float, str]]) -> list[str]:
    """The exact test of yes-or-no scores, which knows no clusters: a note."""
    base, tuned = [one[0] for one in scored], [one[1] for one in scored]
    if not {*base, *tuned} <= {0.0, 1.0} or base == tuned:
        return []
    from services.evaluator.statistics.binary import flips  # statsmodels takes a second to import

    return [f"yes or no: exact McNemar p = {flips(base, tuned).p:.2g}, clusters aside"]


def _notes(pairs: Pairs, evidence: Contrast, margin: float | None) -> list[str]:
    notes: list[str] = []
    if margin is None and not evidence.identical:
        notes.append(
            "the scores lie on no scale with a margin of its own, so nothing can be EQUIVALENT; "
            "--margin says what counts as no difference"
        )
    low, high = sorted((pairs.base, pairs.tuned), key=lambda side: side.highest)
    shares = low.lowest >= 0 and 0 < low.highest <= 1
    if not pairs.scale.known and shares and high.highest > _UNLIKE * low.highest:
        notes.append(
            f"the scores of {low.path} go up to {low.highest:g} and those of {high.path} to "
            f"{high.highest:g}: are they on one scale?"
        )
    missing = sum(len(side.rows) - len(pairs.pairs) for side in (pairs.base, pairs.tuned))
    if missing:
        notes.append(f"{missing} items stand in one file only and were left out")
    return notes


def _read(side: Side, other: Side) -> FileRead:
    there = {row.id for row in other.rows}
    alone = [str(row.id) for row in side.rows if row.id not in there]
    return FileRead(
        path=str(side.path),
        format=side.tool or "jsonl",
        items=len(side.rows),
        unscored=side.unscored,
        only_here=len(alone),
        examples=alone[:_EXAMPLES],
        repeated=side.repeated,
    )
