"""Reports of rounds that were never run: what the evaluator would say of a candidate."""

from collections.abc import Sequence

from fineproof.tuning.candidates import Candidate
from services.common.contracts.arms import ArmAsk
from services.common.contracts.evaluator import (
    Comparison,
    DatasetAsk,
    ExperimentCreate,
    Report,
    ReportArm,
    ReportCounts,
    ReportDataset,
    ReportEnvironment,
    Verdict,
)
from services.common.contracts.findings import Action, Remedy

METRICS = ("contains_answer", "token_f1")
Found = tuple[Verdict, float]
"""The verdict on a metric, and the difference."""


def report(
    candidate: Candidate,
    *found: Found,
    tries: Sequence[Action] = (),
    name: str = "round-1",
    adapter: str | None = None,
    metrics: Sequence[str] = METRICS,
) -> Report:
    """A ``found`` for each metric in its order, none for the last ones: they were not scored."""
    arm = candidate.name
    spec = ExperimentCreate(
        name=name,
        dataset=DatasetAsk(name="data", file_id="file_1"),
        vector_store_id="vs_1",
        arms=[ArmAsk(name="base", model="small"), ArmAsk(name=arm, model="ft:small")],
        conditions=["retrieved", "closed_book"],
        primary_conditions=["retrieved"],
        metrics=list(metrics),
    )
    return Report(
        experiment_id=f"exp_{name}",
        name=name,
        created_at=0,
        headline="",
        dataset=ReportDataset(name="data", items=30, clusters=10, sha256="ab" * 32),
        arms=[
            ReportArm(name="base", model="small", adapter=None, recipe=None, sha256=None),
            ReportArm(
                name=arm,
                model=adapter or f"ft:small:{arm}:1",
                adapter=adapter or f"ft:small:{arm}:1",
                recipe=candidate.recipe,
                sha256="ab" * 32,
            ),
        ],
        conditions=spec.conditions,
        metrics=list(metrics),
        primary_metrics=list(metrics),
        means=[],
        comparisons=[
            _comparison(arm, metric, "HELPS", 0.9, primary=False) for metric in ("chrf", "refusal")
        ]
        + [_comparison(arm, m, *one) for m, one in zip(metrics, found, strict=False)],
        diff_in_diff=[],
        retrieval=None,
        adapter_proofs=[],
        counts=ReportCounts(items=30, answers=120, unscored=0),
        timings={"total": 1.0},
        environment=ReportEnvironment(cpu="", cores=2, memory_bytes=0, gpu=None, versions={}),
        spec=spec,
        prompt_template_sha256="ab" * 32,
        remedies=[
            Remedy(arm=arm, action=action, advice=f"Try {action}.", because="It was seen.")
            for action in tries
        ],
        warnings=[f"{name}: 7 of 30 test questions stand in the training data."],
        rows="rows.jsonl",
    )


def _comparison(
    arm: str, metric: str, verdict: Verdict, diff: float, *, primary: bool = True
) -> Comparison:
    return Comparison(
        arm=arm,
        baseline="base",
        condition="retrieved",
        metric=metric,
        base=0.5,
        tuned=0.5 + diff,
        diff=diff,
        ci95=(diff - 0.1, diff + 0.1),
        p=0.01,
        p_holm=0.02 if primary else None,
        n=30,
        clusters=10,
        verdict=verdict,
        primary=primary,
        n_needed=480 if verdict == "INCONCLUSIVE" else None,
    )
