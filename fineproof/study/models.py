"""Question 3: which models suffer more? The effect of tuning on one less that on another."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from fineproof.study.reading import Run
from fineproof.study.result import ModelContrast, ModelEffect, Weighed
from fineproof.study.weighing import Evidence, Side, judged, weigh
from fineproof.study.wording import listed, plural
from services.common.contracts.arms import ArmAsk

# What a tuning names by ids of its own stack and data; all else must be equal.
_OWN: Any = {
    "base_model": True,
    "training_file": True,
    "hyperparameters": {"retrieval": {"vector_store_id"}},
    "checks": {"test_file", "vector_store_id"},
}


@dataclass(frozen=True)
class Pair:
    """Two base models on the same items, the arms that both have made alike, and the metrics that
    mean the same of both; ``notes`` say what does not, and why."""

    one: Run
    other: Run
    arms: list[str]
    metrics: list[str]
    notes: list[str]


def pairs_of(runs: Sequence[Run]) -> list[Pair]:
    """Every two runs on one data set; without arms where nothing was made alike."""
    return [
        _pair(one, other) for one, other in combinations(runs, 2) if one.dataset == other.dataset
    ]


def _pair(one: Run, other: Run) -> Pair:
    both = f"{one.model} and {other.model} on '{one.dataset}'"
    if None not in (rows := (one.training_sha256, other.training_sha256)) and len(set(rows)) > 1:
        note = f"{both} are not compared: they were tuned on other training rows."
        return Pair(one, other, [], [], [note])
    theirs = {arm.name: _made(arm) for arm in other.tuned}
    mine = {arm.name: _made(arm) for arm in one.tuned}
    arms = [name for name, made in mine.items() if made and made == theirs.get(name)]
    if not arms:
        note = f"{both} are not compared: they have no arm of the same name, tuned alike."
        return Pair(one, other, [], [], [note])
    notes = []
    if apart := [name for name in dict.fromkeys((*mine, *theirs)) if name not in arms]:
        notes.append(f"{both} are compared without {listed(apart)}, which both do not make alike.")
    shared = [metric for metric in one.metrics if metric in other.metrics]
    if alone := sorted(set(one.metrics) ^ set(other.metrics)):
        notes.append(f"{both} are not compared on {listed(alone)}, which decides for one only.")
    metrics = [metric for metric in shared if _judge_of(one, metric) == _judge_of(other, metric)]
    if apart := [metric for metric in shared if metric not in metrics]:
        notes.append(f"{both} are not compared on {listed(apart)}: their judges are not the same.")
    if moved := _moved(one, other):
        notes.append(f"{both} were given other passages for {plural(moved, 'item')}.")
    return Pair(one, other, arms, metrics, notes)


def _made(arm: ArmAsk) -> dict[str, Any] | None:
    if arm.tune is None or not arm.tune.trains:
        return None
    return arm.tune.model_dump(mode="json", exclude=_OWN)


def _judge_of(run: Run, metric: str) -> str | None:
    """What tells the judge of a metric from others, its steps too; None where no judge scores."""
    judge = run.report.judge
    if judge is None or all(one.name != metric for one in judge.criteria):
        return None
    return judge.qualification.judge_sha256


def _moved(one: Run, other: Run) -> int:
    given = other.answers.passages
    return sum(
        item in given and given[item] != passages for item, passages in one.answers.passages.items()
    )


def model_contrasts(pairs: Sequence[Pair]) -> list[ModelContrast]:
    """Of each pair and metric; all of them are one Holm family."""
    found = [
        (pair, evidence)
        for pair in pairs
        for metric in pair.metrics
        if (evidence := _contrast(pair, metric)) is not None
    ]
    if not found:
        return []
    weighed = judged([evidence for _, evidence in found], pairs[0].one.report.spec.statistics)
    return [
        _to_contrast(pair, evidence.metric, one)
        for (pair, evidence), one in zip(found, weighed, strict=True)
    ]


def _contrast(pair: Pair, metric: str) -> Evidence | None:
    (tuned, base), (others, other_base) = (_sides(run, pair.arms) for run in (pair.one, pair.other))
    return weigh(metric, [*tuned, *other_base], [*base, *others], per=len(pair.arms))


def _sides(run: Run, arms: Sequence[str]) -> tuple[list[Side], list[Side]]:
    """The tuned arms, and the base once for each of them."""
    return [Side(run, arm) for arm in arms], [Side(run, run.baseline)] * len(arms)


def _to_contrast(pair: Pair, metric: str, weighed: Weighed) -> ModelContrast:
    models = (pair.one.model, pair.other.model)
    worse = {"HURTS": models[0], "HELPS": models[1]}.get(weighed.verdict)
    return ModelContrast(
        **weighed.model_dump(),
        dataset=pair.one.dataset,
        metric=metric,
        models=models,
        arms=pair.arms,
        suffers_more=worse,
    )


def model_effects(runs: Sequence[Run], pairs: Sequence[Pair]) -> list[ModelEffect]:
    """What tuning does to each model by itself, over the arms of its pairs; by data set and
    metric, so that the models stand one below the other."""
    found = [effect for run in runs for effect in _effects(run, pairs)]
    order = list(dict.fromkeys((one.dataset, one.metric) for one in found))
    datasets = [dataset for dataset, _ in order]
    return sorted(
        found, key=lambda one: (datasets.index(one.dataset), order.index((one.dataset, one.metric)))
    )


def _effects(run: Run, pairs: Sequence[Pair]) -> Iterator[ModelEffect]:
    mine = [pair for pair in pairs if run in (pair.one, pair.other)]
    shared = {arm for pair in mine for arm in pair.arms}
    arms = [arm.name for arm in run.tuned if arm.name in shared]
    if not arms:
        return
    for metric in run.metrics:
        evidence = weigh(metric, *_sides(run, arms), per=len(arms))
        if evidence is not None:
            yield ModelEffect(
                dataset=run.dataset,
                model=run.model,
                metric=metric,
                arms=arms,
                diff=evidence.contrast.estimate,
                ci95=evidence.contrast.interval(0.95),
                margin=evidence.margin,
                n=evidence.contrast.data.n,
                clusters=evidence.contrast.data.clusters,
                unscored=evidence.unscored,
            )


def answer(contrasts: Sequence[ModelContrast], runs: Sequence[Run]) -> str:
    models = list(dict.fromkeys(run.model for run in runs))
    if len(models) == 1:
        return f"Only {models[0]} was asked: which models suffer more takes at least two."
    if not contrasts:
        return "No two base models were asked the same items with arms that were tuned alike."
    pairs = list(dict.fromkeys(one.models for one in contrasts))
    return " ".join(
        _clause(pair, [one for one in contrasts if one.models == pair]) for pair in pairs
    )


def _clause(models: tuple[str, str], contrasts: Sequence[ModelContrast]) -> str:
    counted = Counter(map(reading, contrasts))
    parts = ", ".join(f"{said} in {count}" for said, count in counted.most_common())
    return f"{' against '.join(models)}, of {plural(len(contrasts), 'comparison')}: {parts}."


def reading(contrast: ModelContrast) -> str:
    """What a row says, in words."""
    if contrast.suffers_more is not None:
        return f"{contrast.suffers_more} suffers more"
    return "as much" if contrast.verdict == "EQUIVALENT" else "cannot be told"
