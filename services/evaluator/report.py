"""Builds the report of an experiment from what was answered; writes no file and asks no peer."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

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
from services.common.contracts.judge import Judgment, Preferred, ReportJudge
from services.common.contracts.leakage import ReportTraining
from services.common.prompts import TEMPLATE_SHA256
from services.evaluator.analysis import comparisons, means
from services.evaluator.interaction import differences_in_differences
from services.evaluator.judges.reporting import judge_figures, judge_warnings
from services.evaluator.leaks import training_warnings
from services.evaluator.metrics import Metric
from services.evaluator.metrics.judged import deciding, distrusted_of, metrics_of
from services.evaluator.metrics.retrieval import DEPTH, Ranked, quality
from services.evaluator.scores import Scores, ScoreTable
from services.evaluator.sizes import size_curves
from services.evaluator.statistics.repeats import over_repeats
from services.evaluator.verdict import headline

_CUT_SHARE = 0.2  # of an arm's answers cut off by max_tokens, from which it is worth a warning
_TAIL = 5  # resamples an interval's end should have beyond it


@dataclass(frozen=True)
class MeasuredItem:
    """``ranking`` are passage ids in rank order, of which the first k were ``retrieved`` for the
    prompt; ``oracle`` the gold ones in the store."""

    item_id: str
    cluster: str
    evidence_ids: Sequence[str]
    retrieved: Sequence[str]
    oracle: Sequence[str]
    ranking: Sequence[str] = ()


@dataclass(frozen=True)
class MeasuredAnswer:
    item_id: str
    arm: str
    condition: Condition
    scores: Scores
    finish_reason: str | None
    left_out: int
    failed: bool
    training_seed: int = 0
    judgments: Mapping[str, Judgment] | None = None
    preference: Preferred | None = None


@dataclass(frozen=True)
class Measured:
    """All that a report is made from; ``judge`` comes without its figures."""

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
    judge: ReportJudge | None = None
    training: Sequence[ReportTraining] = ()


def build_report(measured: Measured) -> Report:
    table = table_of(measured)
    distrusted = distrusted_of(measured.spec, measured.judge)
    metrics = metrics_of(measured.spec, distrusted=distrusted)
    primary = deciding(measured.spec, distrusted=distrusted)
    spec = measured.spec.model_copy(update={"metrics": primary})
    compared, averages = comparisons(table, spec, metrics), means(table, spec, metrics)
    clusters = {item.item_id: item.cluster for item in measured.items}
    judge = judge_figures(measured.judge, measured.spec, measured.answers, clusters)
    return Report(
        experiment_id=measured.experiment_id,
        name=measured.name,
        created_at=measured.created_at,
        headline=headline(compared, spec.primary_conditions or spec.conditions),
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
        metrics=[*primary, *(name for name in metrics if name not in primary)],
        primary_metrics=primary,
        means=averages,
        comparisons=compared,
        diff_in_diff=differences_in_differences(table, spec, metrics),
        retrieval=_retrieval_quality(measured),
        adapter_proofs=list(measured.proofs),
        counts=ReportCounts(
            items=len(measured.items),
            answers=len(measured.answers),
            unscored=sum(answer.failed for answer in measured.answers),
        ),
        timings=dict(measured.timings),
        environment=measured.environment,
        spec=measured.spec,
        spec_sha256=measured.spec.sha256,
        prompt_template_sha256=TEMPLATE_SHA256,
        training=list(measured.training),
        sizes=size_curves(spec.arms, averages, spec.conditions, _drawn(primary, metrics)),
        warnings=[
            *training_warnings(measured.training),
            *_warn_of_items(measured),
            *_warn_of_answers(measured),
            *judge_warnings(judge, measured.spec),
            *_warn_of_statistics(spec, compared),
        ],
        judge=judge,
        rows=f"/v1/experiments/{measured.experiment_id}/rows",
    )


def _drawn(primary: Sequence[str], metrics: Mapping[str, Metric]) -> list[str]:
    """What is drawn by size: what decides, and what else has more as its better side."""
    others = (m.name for m in metrics.values() if m.higher_is_better and m.name not in primary)
    return [*primary, *others]


def table_of(measured: Measured) -> ScoreTable:
    each: dict[tuple[str, Condition], dict[str, list[Scores]]] = {}
    trainings: dict[tuple[str, Condition], dict[int, dict[str, list[Scores]]]] = {}
    several = {arm.name for arm in measured.spec.arms if arm.tune and len(arm.tune.seeds) > 1}
    for answer in measured.answers:
        items = each.setdefault((answer.arm, answer.condition), {})
        items.setdefault(answer.item_id, []).append(answer.scores)
        if answer.arm in several:
            by_seed = trainings.setdefault((answer.arm, answer.condition), {})
            items = by_seed.setdefault(answer.training_seed, {})
            items.setdefault(answer.item_id, []).append(answer.scores)
    return ScoreTable(
        clusters={item.item_id: item.cluster for item in measured.items},
        cells={cell: _cell(measured, items) for cell, items in each.items()},
        trainings={
            cell: [_cell(measured, by_seed[seed]) for seed in sorted(by_seed)]
            for cell, by_seed in trainings.items()
        },
        spreads=_spreads(measured),
        answers={
            cell: {item: answers for item, answers in items.items() if len(answers) > 1}
            for cell, items in each.items()
        },
    )


def _spreads(measured: Measured) -> dict[tuple[str, Condition], dict[str, float]]:
    if measured.spec.sampling.repeats < 2:
        return {}
    repeats: dict[tuple[str, Condition], dict[tuple[str, int], list[Scores]]] = {}
    for answer in measured.answers:
        items = repeats.setdefault((answer.arm, answer.condition), {})
        items.setdefault((answer.item_id, answer.training_seed), []).append(answer.scores)
    metrics = dict.fromkeys(metric for answer in measured.answers for metric in answer.scores)
    return {
        cell: {
            metric: spread
            for metric in metrics
            if (spread := _spread(metric, items.values())) is not None
        }
        for cell, items in repeats.items()
    }


def _spread(metric: str, items: Iterable[Sequence[Scores]]) -> float | None:
    return over_repeats([[one.get(metric) for one in repeats] for repeats in items]).spread


def _cell(measured: Measured, items: Mapping[str, Sequence[Scores]]) -> dict[str, Scores]:
    """Means of repeats in the order of the file: no resampling depends on who was faster."""
    return {
        item.item_id: _averaged(items[item.item_id])
        for item in measured.items
        if item.item_id in items
    }


def _averaged(repeats: Sequence[Scores]) -> Scores:
    """The mean over an item's repeats, of those that have a score: they nest in the item."""
    if len(repeats) == 1:
        return repeats[0]
    scored = {
        name: [value for scores in repeats if (value := scores.get(name)) is not None]
        for name in dict.fromkeys(name for scores in repeats for name in scores)
    }
    return {name: fmean(values) if values else None for name, values in scored.items()}


def _retrieval_quality(measured: Measured) -> RetrievalQuality | None:
    asked = [item for item in measured.items if item.evidence_ids]
    if not asked or "retrieved" not in measured.spec.conditions:
        return None
    k = measured.spec.retrieval.max_num_results
    found = quality([Ranked(i.ranking or i.retrieved, i.evidence_ids) for i in asked], k)
    return RetrievalQuality(
        k=k,
        items=len(asked),
        hit=found.hit,
        recall=found.recall,
        mrr=found.mrr,
        # An experiment from before rankings were kept saw no further than k.
        ndcg=found.ndcg if k >= DEPTH or all(i.ranking for i in asked if i.retrieved) else None,
    )


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
    conditions = spec.primary_conditions or spec.conditions
    declared = (len(spec.arms) - 1) * len(conditions) * len(spec.metrics)
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
