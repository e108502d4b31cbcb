"""Two runs of an eval, item by item: what may be believed of their difference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.common.db import Database
from services.common.errors import Conflict, InvalidRequest, NotFound
from services.evaluator.evals import storage
from services.evaluator.evals.graders import Multi, ScoreModel
from services.evaluator.evals.grading.grades import AnyGrader
from services.evaluator.evals.running import CRITERIA
from services.evaluator.evals.schemas import CompareCreate, CriterionComparison, EvalComparison
from services.evaluator.evals.storage import Graded
from services.evaluator.statistics.binary import flips
from services.evaluator.statistics.missing import Bounds, bounds
from services.evaluator.statistics.multiplicity import Corrected, holm
from services.evaluator.statistics.paired import Contrast, Resampling, contrast
from services.evaluator.verdict import decide, signed

MOST_SCORE = 1e100
"""Beyond which a formula's scores are not compared: the sum of their squares is no number."""


@dataclass(frozen=True)
class Paired:
    """``labels`` name the cluster of each of the pairs."""

    criteria: Sequence[AnyGrader]
    base: Sequence[Graded]
    tuned: Sequence[Graded]
    labels: Sequence[str]
    unpaired: int


@dataclass(frozen=True)
class _Scored:
    """The pairs that both runs scored by one criterion, on its scale from 0 to 1."""

    name: str
    base: list[float]
    tuned: list[float]
    gained: int
    lost: int
    unscored: int
    binary: bool
    evidence: Contrast
    bounds: Bounds | None


def compare(db: Database, eval_id: str, ask: CompareCreate) -> EvalComparison:
    """Reads in one transaction and weighs after it. ``Conflict`` unless both runs have completed,
    ``InvalidRequest`` where their items differ or nothing can be compared."""
    with db.transaction() as session:
        paired = _paired(session, eval_id, ask)
    found = [
        scored
        for place, criterion in enumerate(paired.criteria)
        if ask.criterion in (None, criterion.name)
        and (scored := _scored(paired, place, criterion, ask)) is not None
    ]
    if not found:
        raise InvalidRequest(
            "The runs have no item that both of them scored.", code="nothing_to_compare"
        )
    family = holm([each.evidence.p for each in found], alpha=ask.alpha)
    criteria = [
        _comparison(each, corrected, ask) for each, corrected in zip(found, family, strict=True)
    ]
    return EvalComparison(
        eval_id=eval_id,
        base_run=ask.base_run,
        tuned_run=ask.tuned_run,
        paired=len(paired.base),
        unpaired=paired.unpaired,
        criteria=criteria,
        headline="; ".join(map(_clause, criteria)) + ".",
    )


def _paired(session: Session, eval_id: str, ask: CompareCreate) -> Paired:
    of = storage.find_eval(session, eval_id)
    if of is None:
        raise NotFound(f"There is no eval '{eval_id}'.", code="eval_not_found")
    criteria = CRITERIA.validate_python(of.criteria)
    names = [criterion.name for criterion in criteria]
    if ask.criterion is not None and ask.criterion not in names:
        raise InvalidRequest(
            f"There is no criterion '{ask.criterion}'; there are {', '.join(names)}.",
            code="unknown_criterion",
            param="criterion",
        )
    base = _graded(session, eval_id, ask.base_run, ask.cluster)
    tuned = _graded(session, eval_id, ask.tuned_run, ask.cluster)
    both = [ordinal for ordinal in base if ordinal in tuned]
    for ordinal in both:
        if base[ordinal].item_sha256 != tuned[ordinal].item_sha256:
            raise InvalidRequest(
                f"The runs are not over the same data: item {ordinal} differs.",
                code="different_data",
            )
    return Paired(
        criteria=criteria,
        base=[base[ordinal] for ordinal in both],
        tuned=[tuned[ordinal] for ordinal in both],
        labels=[_label(base[ordinal]) for ordinal in both],
        unpaired=len(base) + len(tuned) - 2 * len(both),
    )


def _label(item: Graded) -> str:
    """An item without the field is a cluster of its own."""
    return f"item {item.ordinal}" if item.cluster is None else f"= {item.cluster}"


def _graded(
    session: Session, eval_id: str, run_id: str, cluster: str | None
) -> Mapping[int, Graded]:
    run = storage.find_run(session, eval_id, run_id)
    if run is None:
        raise NotFound(f"There is no run '{run_id}' of eval '{eval_id}'.", code="run_not_found")
    if run.status != "completed":
        raise Conflict(
            f"Run '{run_id}' is {run.status}; completed runs can be compared.",
            code="run_not_completed",
        )
    return {each.ordinal: each for each in storage.graded(session, run_id, cluster)}


def _scored(paired: Paired, place: int, criterion: AnyGrader, ask: CompareCreate) -> _Scored | None:
    low, high = criterion.bounds if isinstance(criterion, ScoreModel) else (0.0, 1.0)
    firsts = [_scaled(each.scores[place], low, high) for each in paired.base]
    seconds = [_scaled(each.scores[place], low, high) for each in paired.tuned]
    base: list[float] = []
    tuned: list[float] = []
    labels: list[str] = []
    gained = lost = 0
    for n, (first, second) in enumerate(zip(firsts, seconds, strict=True)):
        if first is None or second is None:
            continue
        base.append(first)
        tuned.append(second)
        labels.append(paired.labels[n])
        before, after = paired.base[n].passed[place], paired.tuned[n].passed[place]
        gained += after and not before
        lost += before and not after
    if not base:
        return None
    if any(not abs(score) <= MOST_SCORE for score in (high - low, *base, *tuned)):
        raise InvalidRequest(
            f"Criterion '{criterion.name}' has scores beyond {MOST_SCORE:g}, which cannot be "
            "compared; compare another by 'criterion', or let the formula stay below.",
            code="scores_too_large",
        )
    differences = [b - a for a, b in zip(base, tuned, strict=True)]
    how = Resampling(resamples=ask.resamples, permutations=ask.permutations, seed=ask.seed)
    return _Scored(
        name=criterion.name,
        base=base,
        tuned=tuned,
        gained=gained,
        lost=lost,
        unscored=len(firsts) - len(base),
        binary=criterion.type in ("string_check", "label_model"),
        evidence=contrast(
            differences, labels, how=how, bound=max(1.0, *(abs(each) for each in differences))
        ),
        # A formula's scale has no ends that an unscored one could be given.
        bounds=None
        if isinstance(criterion, Multi)
        else bounds(firsts, seconds, paired.labels, low=0, high=1, how=how),
    )


def _scaled(score: float | None, low: float, high: float) -> float | None:
    return None if score is None else (score - low) / (high - low)


def _comparison(scored: _Scored, corrected: Corrected, ask: CompareCreate) -> CriterionComparison:
    evidence = scored.evidence
    decision = decide(
        evidence,
        corrected,
        margin=ask.margin,
        alpha=ask.alpha,
        higher_is_better=True,
        bounds=scored.bounds,
    )
    notes = list(decision.notes)
    if scored.binary:
        notes.append(f"exact McNemar p = {flips(scored.base, scored.tuned).p:.2g}")
    return CriterionComparison(
        criterion=scored.name,
        base=sum(scored.base) / len(scored.base),
        tuned=sum(scored.tuned) / len(scored.tuned),
        diff=evidence.estimate,
        ci95=evidence.interval(0.95),
        p=evidence.p,
        p_holm=corrected.p,
        n=evidence.data.n,
        clusters=evidence.data.clusters,
        unscored=scored.unscored,
        gained=scored.gained,
        lost=scored.lost,
        verdict=decision.verdict,
        note="; ".join(notes) or None,
        n_needed=decision.n_needed,
    )


def _clause(found: CriterionComparison) -> str:
    low, high = found.ci95
    return (
        f"{found.verdict} on '{found.criterion}': {signed(found.diff)} "
        f"(95 % interval {signed(low)} to {signed(high)})"
    )
