"""Builds the report of an experiment from what was answered; writes no file and asks no peer."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.common.contracts.evaluator import (
    Comparison,
    ExperimentCreate,
    Report,
    ReportArm,
    ReportCounts,
    ReportDataset,
    ReportEnvironment,
    RetrievalQuality,
)
from services.common.contracts.generator import AdapterProof, Condition
from services.common.prompts import TEMPLATE_SHA256
from services.evaluator.analysis import (
    Scores,
    ScoreTable,
    comparisons,
    differences_in_differences,
    means,
)
from services.evaluator.metrics import METRICS
from services.evaluator.metrics.retrieval import hit_at_k, recall_at_k, reciprocal_rank
from services.evaluator.verdict import headline

_CUT_SHARE = 0.2  # of an arm's answers cut off by max_tokens, from which it is worth a warning
_TAIL = 5  # resamples an interval's end should have beyond it


@dataclass(frozen=True)
class MeasuredItem:
    """``retrieved`` are passage ids in rank order; ``oracle`` the gold ones in the store."""

    item_id: str
    cluster: str
    evidence_ids: Sequence[str]
    retrieved: Sequence[str]
    oracle: Sequence[str]


@dataclass(frozen=True)
class MeasuredAnswer:
    item_id: str
    arm: str
    condition: Condition
    scores: Scores
    finish_reason: str | None
    left_out: int
    failed: bool


@dataclass(frozen=True)
class Measured:
    """All that a report is made from."""

    experiment_id: str
    created_at: int
    name: str
    spec: ExperimentCreate
    dataset_sha256: str
    arms: Sequence[ReportArm]
    proofs: Sequence[AdapterProof]
    items: Sequence[MeasuredItem]
    answers: Sequence[MeasuredAnswer]
    timings: Mapping[str, float]
    environment: ReportEnvironment


def build_report(measured: Measured) -> Report:
    spec, table = measured.spec, _table(measured)
    compared = comparisons(table, spec)
    return Report(
        experiment_id=measured.experiment_id,
        name=measured.name,
        created_at=measured.created_at,
        headline=headline(compared, spec.conditions),
        dataset=ReportDataset(
            name=spec.dataset.name,
            items=len(measured.items),
            clusters=len({item.cluster for item in measured.items}),
            sha256=measured.dataset_sha256,
        ),
        arms=[
            ReportArm.model_validate(arm.model_dump(include=set(ReportArm.model_fields)))
            for arm in measured.arms
        ],
        conditions=spec.conditions,
        metrics=[*spec.metrics, *(name for name in METRICS if name not in spec.metrics)],
        primary_metrics=spec.metrics,
        means=means(table, spec),
        comparisons=compared,
        diff_in_diff=differences_in_differences(table, spec),
        retrieval=_retrieval_quality(measured),
        adapter_proofs=list(measured.proofs),
        counts=ReportCounts(
            items=len(measured.items),
            answers=len(measured.answers),
            unscored=sum(answer.failed for answer in measured.answers),
        ),
        timings=dict(measured.timings),
        environment=measured.environment,
        spec=spec,
        prompt_template_sha256=TEMPLATE_SHA256,
        warnings=_warnings(measured, compared),
        rows=f"/v1/experiments/{measured.experiment_id}/rows",
    )


def _table(measured: Measured) -> ScoreTable:
    cells: dict[tuple[str, Condition], dict[str, Scores]] = {}
    for answer in measured.answers:
        cells.setdefault((answer.arm, answer.condition), {})[answer.item_id] = answer.scores
    return ScoreTable(
        clusters={item.item_id: item.cluster for item in measured.items},
        # Items in the order of the file, so that a resampling does not depend on who was faster.
        cells={
            cell: {i.item_id: scores[i.item_id] for i in measured.items if i.item_id in scores}
            for cell, scores in cells.items()
        },
    )


def _retrieval_quality(measured: Measured) -> RetrievalQuality | None:
    asked = [item for item in measured.items if item.evidence_ids]
    if not asked or "retrieved" not in measured.spec.conditions:
        return None
    k = measured.spec.retrieval.max_num_results
    count = len(asked)
    return RetrievalQuality(
        k=k,
        items=count,
        hit=sum(hit_at_k(i.retrieved, i.evidence_ids, k) for i in asked) / count,
        recall=sum(recall_at_k(i.retrieved, i.evidence_ids, k) for i in asked) / count,
        mrr=sum(reciprocal_rank(i.retrieved, i.evidence_ids) for i in asked) / count,
    )


def _warnings(measured: Measured, compared: Sequence[Comparison]) -> list[str]:
    """What a reader should know before believing the figures."""
    return [
        *_warn_of_items(measured),
        *_warn_of_answers(measured),
        *_warn_of_statistics(measured.spec, compared),
    ]


def _warn_of_items(measured: Measured) -> list[str]:
    found: list[str] = []
    without = sum(not item.oracle for item in measured.items)
    if without and "oracle" in measured.spec.conditions:
        found.append(
            f"{without} of {len(measured.items)} items have no evidence in the vector store and "
            "were left out of oracle."
        )
    missing = sum(len(set(i.evidence_ids)) - len(i.oracle) for i in measured.items)
    if missing:
        found.append(f"{missing} evidence passages are not in the vector store.")
    empty = sum(not item.retrieved for item in measured.items)
    if empty and "retrieved" in measured.spec.conditions:
        found.append(f"Retrieval found nothing for {empty} items; they were asked closed book.")
    clusters = len({item.cluster for item in measured.items})
    if clusters < 20:
        found.append(f"The items come from {clusters} documents: intervals from so few are rough.")
    return found


def _warn_of_answers(measured: Measured) -> list[str]:
    found: list[str] = []
    asked = Counter((answer.arm, answer.condition) for answer in measured.answers)
    failed = Counter((a.arm, a.condition) for a in measured.answers if a.failed)
    cut = Counter((a.arm, a.condition) for a in measured.answers if a.finish_reason == "length")
    for (arm, condition), count in failed.items():
        found.append(
            f"{count} of {asked[arm, condition]} answers of {arm} under {condition} are unscored: "
            "they never came. They are left out of its means and pairs."
        )
    worst = max(cut, key=lambda key: cut[key] / asked[key], default=None)
    if worst is not None and cut[worst] > _CUT_SHARE * asked[worst]:
        arm, condition = worst
        found.append(
            f"{sum(cut.values())} of {len(measured.answers)} answers were cut off at "
            f"{measured.spec.sampling.max_tokens} tokens, most of {arm}'s under {condition} "
            f"({cut[worst]} of {asked[worst]})."
        )
    squeezed = sum(answer.left_out > 0 for answer in measured.answers)
    if squeezed:
        found.append(
            f"{squeezed} prompts did not hold all their passages: the model's window is too short."
        )
    return found


def _warn_of_statistics(spec: ExperimentCreate, compared: Sequence[Comparison]) -> list[str]:
    family = sum(comparison.primary for comparison in compared)
    declared = (len(spec.arms) - 1) * len(spec.conditions) * len(spec.metrics)
    found: list[str] = []
    if family < declared:
        found.append(
            f"{declared - family} of {declared} declared comparisons have no pair of scored "
            "answers."
        )
    beyond = spec.statistics.resamples * spec.statistics.alpha / max(family, 1) / 2
    if beyond < _TAIL:
        enough = round(2 * _TAIL * family / spec.statistics.alpha)
        found.append(
            f"{spec.statistics.resamples} resamples are few for {family} comparisons; "
            f"{enough} would be enough."
        )
    return found
