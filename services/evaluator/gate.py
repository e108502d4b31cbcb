"""From a report and a policy to yes or no, with every reason for a no: pure, always the same."""

from collections.abc import Mapping, Sequence
from itertools import product

from services.common.contracts.evaluator import Comparison, Report, ReportArm
from services.common.contracts.gate import (
    GateCreate,
    GateFloor,
    GatePolicy,
    GateReason,
    GateRequirement,
)
from services.common.contracts.generator import Condition
from services.common.errors import InvalidRequest
from services.evaluator.metrics.judged import margin_of, metrics_of
from services.evaluator.statistics.scales import ONE_TO_FIVE, UNIT
from services.evaluator.verdict import effect, focus_of

_ROUNDING = 1e-9  # of a margin reckoned in proportion


def arm_of(report: Report, ask: GateCreate) -> ReportArm:
    """The arm that wants to pass: the one named, or the only one beside the baseline."""
    tuned = [arm for arm in report.arms if arm.name != report.spec.baseline]
    named = [arm for arm in tuned if ask.arm in (None, arm.name)]
    if len(named) == 1:
        return named[0]
    names = ", ".join(dict.fromkeys(arm.name for arm in tuned))
    if ask.arm is not None and named:
        raise InvalidRequest(
            f"'{ask.arm}' is a recipe of {len(named)} training seeds; a gate is for one adapter. "
            "Measure that adapter as an arm of its own.",
            code="several_adapters",
            param="arm",
        )
    raise InvalidRequest(
        f"Name the arm that wants to pass; the arms beside the baseline are {names}."
        if ask.arm is None
        else f"'{ask.arm}' is no arm beside the baseline; those are {names}.",
        code="missing_required_parameter" if ask.arm is None else "unknown_arm",
        param="arm",
    )


def applied(policy: GatePolicy, report: Report) -> GatePolicy:
    """The policy with its nulls filled in from what the experiment declared.

    Raises :class:`InvalidRequest` where it names what was not declared.
    """
    filled = _filled(policy, report)
    for condition, metric in _undeclared(filled, report):
        raise InvalidRequest(
            f"The policy names {metric} under {condition}, which the experiment did not "
            f"declare. It declared {', '.join(report.primary_metrics)} under "
            f"{', '.join(_conditions(report))}.",
            code="not_declared",
            param="policy",
        )
    return filled


def _conditions(report: Report) -> list[Condition]:
    """Those of the declared family: what was asked under others besides decides nothing."""
    return report.spec.primary_conditions or report.conditions


def _filled(policy: GatePolicy, report: Report) -> GatePolicy:
    conditions = policy.conditions or _conditions(report)
    metrics = policy.metrics or report.primary_metrics
    required = policy.required
    if required is None:
        focus = focus_of(conditions)
        required = [GateRequirement(condition=focus, metric=metric) for metric in metrics]
    return policy.model_copy(
        update={"conditions": conditions, "metrics": metrics, "required": required}
    )


def _undeclared(filled: GatePolicy, report: Report) -> list[tuple[Condition, str]]:
    """What a policy names that is outside the declared family."""
    named = {(one.condition, one.metric) for one in filled.required or ()}
    named |= set(product(filled.conditions or (), filled.metrics or ()))
    return sorted(named - set(product(_conditions(report), report.primary_metrics)))


def shut_by(
    report: Report,
    arm: ReportArm,
    policy: GatePolicy,
    unscored: Mapping[str, float],
    floor: GateFloor | None = None,
) -> list[GateReason]:
    """Everything that keeps the gate shut. ``unscored`` is a share by the name of an arm."""
    reasons = _asked(report, arm, policy, unscored)
    if floor is not None:
        reasons += _below(report, floor)
        reasons += _asked(report, arm, _filled(floor, report), unscored)
    return [reason for n, reason in enumerate(reasons) if reason not in reasons[:n]]


def _asked(
    report: Report, arm: ReportArm, policy: GatePolicy, unscored: Mapping[str, float]
) -> list[GateReason]:
    family = [c for c in report.comparisons if c.primary and c.arm == arm.name]
    hurting = _hurting(family, policy)
    said = {(reason.condition, reason.metric) for reason in hurting}
    return [
        *_unproven(report, arm),
        *hurting,
        *(r for r in _unmet(family, arm.name, policy) if (r.condition, r.metric) not in said),
        *_unscored(unscored, policy),
    ]


def _below(report: Report, floor: GateFloor) -> list[GateReason]:
    """What the experiment itself lacks to count."""
    statistics, items = report.spec.statistics, report.dataset.items
    baseline = next(arm.model for arm in report.arms if arm.name == report.spec.baseline)
    lacks: list[str] = []
    if floor.min_items is not None and items < floor.min_items:
        lacks.append(f"{items} items were asked, and {floor.min_items} must be")
    if floor.max_margin is not None and (wide := _too_wide(report, floor.max_margin)):
        lacks.append(wide)
    if floor.max_alpha is not None and statistics.alpha > floor.max_alpha:
        lacks.append(f"an alpha of {statistics.alpha:g} is larger than {floor.max_alpha:g}")
    if floor.datasets is not None and report.dataset.sha256 not in floor.datasets:
        lacks.append(f"the test set '{report.dataset.name}' is none of those that count")
    if floor.baselines is not None and baseline not in floor.baselines:
        lacks.append(f"the baseline '{baseline}' is none of {', '.join(floor.baselines)}")
    for condition, metric in _undeclared(_filled(floor, report), report):
        lacks.append(f"{metric} under {condition} was not declared by the experiment")
    return [
        GateReason(code="below_floor", message=f"The operator's floor: {why}.") for why in lacks
    ]


def _too_wide(report: Report, most: float) -> str | None:
    """The widest margin of what decides, if it is beyond ``most`` from 0 to 1; of a judge's scores
    beyond as many times what they have by default, so that 0.05 allows 0.25 from 1 to 5."""
    metrics = metrics_of(report.spec)
    found: list[tuple[float, str]] = []
    for name in report.primary_metrics:
        metric, allowed = metrics[name], most
        if metric.judged is not None:
            usual = ONE_TO_FIVE.margin * metric.judged.width / ONE_TO_FIVE.width
            allowed = most * usual / UNIT.margin
        margin = margin_of(metric, report.spec.statistics)
        if margin > allowed * (1 + _ROUNDING):
            told = f"a margin of {margin:g} on {name} is wider than {allowed:g}"
            found.append((margin / allowed, told))
    return max(found)[1] if found else None


def _unproven(report: Report, arm: ReportArm) -> list[GateReason]:
    if arm.adapter is None:
        return []
    proofs = [  # one a replica
        proof
        for proof in report.adapter_proofs
        if (proof.adapter, proof.sha256) == (arm.adapter, arm.sha256)
    ]
    if proofs and all(
        proof.max_abs_logprob_delta > 0 and proof.peft_max_abs_diff <= proof.tolerance
        for proof in proofs
    ):
        return []
    message = f"The report holds no proof that {arm.adapter} was at work."
    return [GateReason(code="adapter_unproven", message=message)]


def _hurting(family: Sequence[Comparison], policy: GatePolicy) -> list[GateReason]:
    return [
        GateReason(
            code="hurts",
            message=f"{c.arm} {effect(c)}.",
            condition=c.condition,
            metric=c.metric,
        )
        for c in family
        if c.verdict == "HURTS"
        and c.condition in (policy.conditions or ())
        and c.metric in (policy.metrics or ())
    ]


def _unmet(family: Sequence[Comparison], arm: str, policy: GatePolicy) -> list[GateReason]:
    found = {(c.condition, c.metric): c for c in family}
    reasons: list[GateReason] = []
    for asked in policy.required or ():
        comparison = found.get((asked.condition, asked.metric))
        if comparison is not None and comparison.verdict in asked.verdicts:
            continue
        reasons.append(
            GateReason(
                code="not_compared" if comparison is None else "requirement_unmet",
                message=f"{arm} has no pair of scored answers under {asked.condition}."
                if comparison is None
                else f"{arm} is {comparison.verdict} on {asked.condition} {asked.metric}, and "
                f"must be {' or '.join(asked.verdicts)}{_settled_by(comparison)}.",
                condition=asked.condition,
                metric=asked.metric,
            )
        )
    return reasons


def _settled_by(comparison: Comparison) -> str:
    needed = comparison.n_needed
    return f"; {needed} items would settle it" if needed is not None else ""


def _unscored(shares: Mapping[str, float], policy: GatePolicy) -> list[GateReason]:
    return [
        GateReason(
            code="unscored",
            message=f"{share:.2%} of {arm}'s answers never came; at most "
            f"{policy.max_unscored_share:.2%} may be missing.",
        )
        for arm, share in shares.items()
        if share > policy.max_unscored_share
    ]
