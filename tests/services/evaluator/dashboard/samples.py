"""A small experiment with its report, and what its peers would say, in wire contracts."""

from typing import Any

from services.common.contracts.evaluator import (
    AnswerRow,
    Comparison,
    DiffInDiff,
    ExperimentCreate,
    Report,
    Verdict,
)
from services.common.contracts.generator import Adapter, AdapterProof, Condition
from services.common.contracts.judge import ReportJudge
from services.common.contracts.trainer import AdapterRecord, FineTuningJob, JobEvent

AT = 1_790_000_000
QA = "ft:smollm2:handbook-qa:ftjob_1"
HEADLINE = (
    "qa hurts: with retrieved passages, answers that contain the right one fall by 42 points."
)


def spec() -> ExperimentCreate:
    return ExperimentCreate.model_validate(
        {
            "name": "Handbook",
            "dataset": {"name": "handbook-test", "file_id": "file_1"},
            "vector_store_id": "vs_1",
            "arms": [{"name": "qa", "model": QA}, {"name": "base", "model": "smollm2"}],
            "conditions": ["closed_book", "retrieved"],
            "metrics": ["contains_answer", "token_f1"],
        }
    )


def comparison(
    condition: Condition, metric: str, diff: float, verdict: Verdict, **changes: Any
) -> Comparison:
    shown = {
        "arm": "qa",
        "baseline": "base",
        "condition": condition,
        "metric": metric,
        "base": 0.62,
        "tuned": 0.62 + diff,
        "diff": diff,
        "ci95": (diff - 0.1, diff + 0.1),
        "p": 0.0003,
        "p_holm": 0.0006,
        "n": 45,
        "clusters": 9,
        "verdict": verdict,
        "primary": True,
    }
    return Comparison.model_validate(shown | changes)


def proof(**changes: Any) -> AdapterProof:
    shown = {
        "adapter": QA,
        "replica": "http://127.0.0.1:8005",
        "sha256": "ab" * 32,
        "modules_in_file": 210,
        "modules_matched": 210,
        "max_abs_logprob_delta": 3.27,
        "peft_max_abs_diff": 0.0042,
        "tolerance": 0.05,
        "checked_at": AT,
    }
    return AdapterProof.model_validate(shown | changes)


def report(experiment_id: str) -> Report:
    asked = spec()
    return Report.model_validate(
        {
            "experiment_id": experiment_id,
            "name": asked.name,
            "created_at": AT,
            "headline": HEADLINE,
            "dataset": {"name": "handbook-test", "items": 45, "clusters": 9, "sha256": "cd" * 32},
            "arms": [
                {"name": "qa", "model": QA, "adapter": QA, "recipe": "qa", "sha256": "ab" * 32},
                {
                    "name": "base",
                    "model": "smollm2",
                    "adapter": None,
                    "recipe": None,
                    "sha256": None,
                },
            ],
            "conditions": asked.conditions,
            "metrics": [*asked.metrics, "refusal"],
            "primary_metrics": asked.metrics,
            "means": [],
            "comparisons": [
                comparison("closed_book", "contains_answer", -0.03, "INCONCLUSIVE", n_needed=240),
                comparison("retrieved", "contains_answer", -0.42, "HURTS"),
                comparison("closed_book", "token_f1", 0.0, "EQUIVALENT"),
                comparison("retrieved", "token_f1", 0.21, "HELPS"),
                comparison("retrieved", "refusal", 0.2, "HURTS", primary=False, p_holm=None),
            ],
            "diff_in_diff": [
                DiffInDiff(
                    arm="qa",
                    metric="contains_answer",
                    estimate=-0.39,
                    ci95=(-0.52, -0.25),
                    p=0.0002,
                    p_holm=0.0004,
                    verdict="HURTS",
                )
            ],
            "retrieval": {"k": 3, "items": 45, "hit": 0.93, "recall": 0.9, "mrr": 0.81},
            "adapter_proofs": [proof()],
            "counts": {"items": 45, "answers": 180, "unscored": 1},
            "timings": {"answering": 214.0},
            "environment": {
                "cpu": "a processor",
                "cores": 2,
                "memory_bytes": 25_769_803_776,
                "gpu": None,
                "versions": {},
            },
            "spec": asked,
            "judge": judge(),
            "prompt_template_sha256": "ee" * 32,
            "warnings": ["One answer could not be scored."],
            "rows": "rows.jsonl",
        }
    )


def judge() -> ReportJudge:
    """One that has not passed its exam."""
    return ReportJudge.model_validate(
        {
            "model": "smollm2",
            "adapter_sha256": None,
            "prompt_sha256": "ee" * 32,
            "runs": 10,
            "temperature": 1.0,
            "qualification": {
                "judge_sha256": "ab" * 32,
                "qualified": False,
                "reasons": ["It ranks answers no better than chance."],
            },
            "decides": False,
            "stand_in": "token_f1",
            "criteria": [],
            "figures": [
                {
                    "arm": "qa",
                    "condition": "retrieved",
                    "metric": "accuracy",
                    "n": 44,
                    "unscored": 1,
                    "mean": 3.21,
                    "spread": 0.4,
                    "weighted": None,
                    "low": 3.16,
                    "high": 3.25,
                    "unparsable": 0.022,
                }
            ],
            "preferences": [
                {
                    "arm": "qa",
                    "baseline": "base",
                    "condition": "retrieved",
                    "wins": 5,
                    "losses": 30,
                    "ties": 10,
                    "disagreed": 7,
                    "unscored": 0,
                    "p": 0.0001,
                }
            ],
        }
    )


def row(item: int, arm: str, condition: Condition = "retrieved", **changes: Any) -> AnswerRow:
    shown = {
        "experiment_id": "exp_1",
        "item_id": f"q{item:02d}",
        "cluster": f"doc{item // 5}",
        "arm": arm,
        "model": arm,
        "adapter_sha256": None,
        "condition": condition,
        "question": f"Question {item}?",
        "reference": f"Reference {item}.",
        "answer": f"{arm} says {item}",
        "finish_reason": "stop",
        "passage_ids": [],
        "prompt_sha256": None,
        "completion_tokens": 3,
        "scores": {"contains_answer": 1.0, "token_f1": 0.5, "refusal": 0.0},
        "error": None,
    }
    return AnswerRow.model_validate(shown | changes)


def job(**changes: Any) -> FineTuningJob:
    shown = {
        "id": "ftjob_1",
        "created_at": AT,
        "finished_at": None,
        "estimated_finish": None,
        "model": "smollm2",
        "fine_tuned_model": None,
        "status": "running",
        "training_file": "file_1",
        "validation_file": None,
        "result_files": [],
        "trained_tokens": None,
        "hyperparameters": {"n_epochs": 2, "batch_size": "auto"},
        "method": {
            "type": "supervised",
            "supervised": {"hyperparameters": {"recipe": "rag", "lora": {"r": 16}}},
        },
        "seed": 0,
        "error": None,
        "metadata": {},
        "progress": {"step": 13, "total_steps": 50, "seconds_left": 94.0},
    }
    return FineTuningJob.model_validate(shown | changes)


def events(losses: list[float]) -> list[JobEvent]:
    said = JobEvent(
        id="ev_0", created_at=AT, level="info", message="200 rows are valid.", type="message"
    )
    return [
        said,
        *(
            JobEvent(
                id=f"ev_{step}",
                created_at=AT + step,
                level="info",
                message=f"Step {step}",
                type="metrics",
                data={"step": step, "train_loss": loss},
            )
            for step, loss in enumerate(losses, start=1)
        ),
    ]


def adapter(**changes: Any) -> Adapter:
    shown = {
        "id": QA,
        "created_at": AT,
        "base_model": "smollm2",
        "recipe": "qa",
        "sha256": "ab" * 32,
        "rank": 16,
        "status": "loaded",
        "proof": proof(),
        "error": None,
    }
    return Adapter.model_validate(shown | changes)


def record() -> AdapterRecord:
    return AdapterRecord(
        id=QA,
        created_at=AT,
        base_model="smollm2",
        recipe="qa",
        job_id="ftjob_1",
        step=50,
        sha256="ab" * 32,
        dataset_sha256="cd" * 32,
        rank=16,
        target_modules=["q_proj"],
        url="memory://adapters/1",
        files=[],
        metrics={"train_loss": 0.74},
    )
