"""Folders as ``fineproof experiment run`` writes them, of experiments whose truth is known."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from services.common.contracts.evaluator import AnswerRow, ExperimentCreate, ReportArm
from services.common.contracts.judge import Qualification, ReportCriterion, ReportJudge
from services.evaluator.environment import environment
from services.evaluator.report import Measured, MeasuredAnswer, MeasuredItem, build_report


@dataclass(frozen=True)
class Asked:
    """Item ``item`` of document ``item // per_document``, asked of ``arm``; 0 pairs is the base."""

    item: int
    document: int
    pairs: int
    metric: str
    training_seed: int
    repeat: int


Score = Callable[[Asked], float | None]
SIZES = (200, 500, 1000)


def effect_of(
    points: float | Callable[[int], float], *, noise: float = 0.4, seed: int = 0
) -> Score:
    """Scores of a judge about 3, where tuning on so many pairs adds ``points``, and chance."""

    def score(asked: Asked) -> float:
        base = 3.0 + _normal(seed, asked.document, asked.item, 0, 0) * 0.3
        if not asked.pairs:
            return base
        added = points(asked.pairs) if callable(points) else points
        luck = _normal(seed, asked.document, asked.item, asked.pairs, asked.training_seed)
        return float(np.clip(base + added + noise * luck, 1, 5))

    return score


def _normal(*key: int) -> float:
    return float(np.random.default_rng(key).normal())


def write_run(
    folder: Path,
    score: Score,
    *,
    model: str = "small",
    dataset: str = "handbook",
    documents: int = 20,
    per_document: int = 3,
    sizes: Sequence[int] = SIZES,
    metrics: Sequence[str] = ("accuracy",),
    conditions: Sequence[str] = ("retrieved",),
    seeds: Sequence[int] = (0,),
    repeats: int = 1,
    judge_sha256: str = "ab" * 32,
    store: str = "vs_1",
    tune: dict[str, Any] | None = None,
    **spec: Any,
) -> Path:
    """An experiment of arms by size; ``accuracy`` is a judge's, who has passed."""
    graded = [metric for metric in metrics if metric == "accuracy"]
    made = {
        "base_model": model,
        "training_file": f"file-{model}",
        "seeds": list(seeds),
        **(tune or {}),
    }
    arms = [{"name": f"pairs-{size}", "tune": {**made, "pairs": size}} for size in sizes]
    ask = ExperimentCreate.model_validate(
        {
            "name": "known",
            "dataset": {"name": dataset, "file_id": f"file-test-{model}"},
            "vector_store_id": store,
            "arms": [{"name": "base", "model": model}, *arms],
            "conditions": list(conditions),
            "metrics": list(metrics),
            "statistics": {"resamples": 2000, "permutations": 2000},
            "judge": {"model": "gpt-4", "metrics": graded} if graded else None,
            **spec,
        }
    )
    items = [
        MeasuredItem(f"i{n}", f"d{n // per_document}", [f"p{n}"], [f"p{n}"], [f"p{n}"])
        for n in range(documents * per_document)
    ]
    trained = [
        (arm, seed, repeat)
        for arm in ask.arms
        for seed in (arm.tune.seeds if arm.tune else [None])
        for repeat in range(repeats)
    ]
    rows = [
        AnswerRow(
            experiment_id=f"exp-{model}-{dataset}",
            item_id=item.item_id,
            cluster=item.cluster,
            arm=arm.name,
            model=model if seed is None else f"ft:{model}:{arm.name}:{seed}",
            adapter_sha256=None,
            condition=condition,
            question=f"What of {item.item_id}?",
            reference="That.",
            answer="This.",
            finish_reason="stop",
            passage_ids=[f"p{n}"],
            prompt_sha256=None,
            completion_tokens=1,
            training_seed=seed,
            repeat=repeat,
            scores={
                metric: score(
                    Asked(
                        item=n,
                        document=n // per_document,
                        pairs=(arm.tune.pairs or 0) if arm.tune else 0,
                        metric=metric,
                        training_seed=seed or 0,
                        repeat=repeat,
                    )
                )
                for metric in metrics
            },
            error=None,
        )
        for n, item in enumerate(items)
        for condition in ask.conditions
        for arm, seed, repeat in trained
    ]
    report = build_report(
        Measured(
            experiment_id=f"exp-{model}-{dataset}",
            created_at=1_700_000_000,
            name=ask.name,
            spec=ask,
            dataset_sha256=f"{documents}-{per_document}-{dataset}",
            arms=[
                ReportArm(
                    name=arm.name,
                    model=model if seed is None else f"ft:{model}:{arm.name}:{seed}",
                    adapter=None,
                    recipe=None,
                    sha256=None,
                    training_seed=seed,
                )
                for arm, seed, repeat in trained
                if not repeat
            ],
            proofs=[],
            items=items,
            answers=[
                MeasuredAnswer(
                    item_id=row.item_id,
                    arm=row.arm,
                    condition=row.condition,
                    scores=row.scores,
                    finish_reason=row.finish_reason,
                    left_out=0,
                    failed=False,
                    training_seed=row.training_seed or 0,
                    judgments={},
                )
                for row in rows
            ],
            timings={"answering": 1.0},
            environment=environment(),
            judge=_judge(judge_sha256) if graded else None,
        )
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.model_dump_json(indent=2))
    (folder / "rows.jsonl").write_text("".join(f"{row.model_dump_json()}\n" for row in rows))
    return folder


def _judge(sha256: str) -> ReportJudge:
    return ReportJudge(
        model="gpt-4",
        adapter_sha256=None,
        prompt_sha256="cd" * 32,
        runs=10,
        temperature=1.0,
        qualification=Qualification(judge_sha256=sha256, qualified=True),
        decides=True,
        stand_in="token_f1",
        criteria=[
            ReportCriterion(
                name="accuracy",
                criterion="Is it right?",
                scale=(1, 5),
                steps=["Look."],
                steps_sha256="ef" * 32,
                generated=False,
            )
        ],
        figures=[],
    )


def edit(path: Path, **changes: Any) -> None:
    """Change a report in its file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
