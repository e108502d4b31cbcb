"""The rules of experiments: what may be done to one, and what is shown of it."""

from collections.abc import AsyncIterator

from sqlalchemy.orm import Session

from services.common.contracts.base import Deleted, Page
from services.common.contracts.budget import Estimate, ResumeAsk, Spent
from services.common.contracts.evaluator import (
    Comparison,
    Experiment,
    ExperimentCreate,
    ExperimentError,
    ExperimentProgress,
    Report,
)
from services.common.contracts.flips import Flip
from services.common.contracts.gate import Gate, GateCreate, GateFloor
from services.common.db import after_commit
from services.common.errors import Conflict, InvalidRequest, NotFound
from services.common.ids import new_id, now
from services.common.pagination import Cursor, to_page
from services.common.storage import ArtifactStore
from services.common.tasks import TaskQueue
from services.common.watching import Watchers
from services.evaluator import estimating, judging_storage, models, storage, tuning_storage
from services.evaluator.checking import Checked
from services.evaluator.estimating import PastRun, Sized, past_of
from services.evaluator.flips.service import FlipQuery, page_of_flips
from services.evaluator.gate import applied, arm_of, shut_by
from services.evaluator.spending import beyond

RUN = "evaluator.run"
CANCEL_JOBS = "evaluator.cancel_jobs"
RUNS_LOOKED_AT = 20  # for an estimate


def folder_of(experiment_id: str) -> str:
    """The key of an experiment's folder in the artifact store."""
    return f"experiments/{experiment_id}"


def schema() -> models.Json:
    """JSON schema (2020-12) of what ``create`` is asked with."""
    return ExperimentCreate.model_json_schema() | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fineproof experiment, version 1",
    }


def estimate(session: Session, ask: ExperimentCreate, sized: Sized) -> Estimate:
    """What ``ask`` will take, going by the experiments completed here last."""
    runs = [
        PastRun(
            max_tokens=spec["sampling"]["max_tokens"],
            seconds=timings.get("answering", 0.0),
            spent=Spent.model_validate(spent),
            comparisons=[Comparison.model_validate(one) for one in comparisons or ()],
        )
        for spec, timings, spent, comparisons in storage.recent(session, RUNS_LOOKED_AT)
    ]
    return estimating.estimate(ask, sized, past_of(runs, max_tokens=ask.sampling.max_tokens))


def create(session: Session, tasks: TaskQueue, checked: Checked) -> Experiment:
    """Keep and queue it, unless the estimate says that it would pass its budget."""
    if checked.sized is not None:
        limits = estimate(session, checked.ask, checked.sized).over_budget
        if limits:
            raise InvalidRequest(
                f"It would pass its budget: {'; '.join(limits)}. Raise it, or ask less; "
                "POST /v1/experiments/estimate shows what takes how much.",
                code="budget_exceeded",
                param="budget",
            )
    row = models.Experiment(
        id=new_id("exp"),
        name=checked.ask.name,
        spec=checked.ask.model_dump(mode="json"),
        spec_sha256=checked.ask.sha256,
        dataset_sha256=checked.dataset_sha256,
    )
    storage.add(session, row)
    tasks.enqueue(session, RUN, row.id)
    return to_wire(row)


def get(session: Session, experiment_id: str) -> Experiment:
    return to_wire(row_of(session, experiment_id))


def page(session: Session, cursor: Cursor) -> Page[Experiment]:
    rows, more = storage.page(session, cursor)
    return to_page([to_wire(row) for row in rows], more)


def cancel(session: Session, tasks: TaskQueue, experiment_id: str) -> Experiment:
    """Stop it and its unfinished jobs; its worker notices within seconds. Cancelling twice is no
    mistake."""
    if storage.cancel(session, experiment_id):
        tasks.enqueue(session, CANCEL_JOBS, experiment_id)
    row = row_of(session, experiment_id)
    if row.status != "canceled":
        raise Conflict(
            f"Experiment '{experiment_id}' has {row.status} already.", code="experiment_finished"
        )
    return to_wire(row)


def resume(session: Session, tasks: TaskQueue, experiment_id: str, ask: ResumeAsk) -> Experiment:
    """Go on where a failed or cancelled experiment was left; nothing answered is asked again."""
    row = row_of(session, experiment_id)
    spec = ExperimentCreate.model_validate(row.spec)
    if ask.budget is not None:
        spec = spec.model_copy(update={"budget": ask.budget})
    spent = to_wire(row).spent
    limits = beyond(spec.budget, tokens=spent.tokens, cost=spent.cost, minutes=spent.minutes)
    if limits:
        raise Conflict(
            f"The budget is spent: {'; '.join(limits)}. Give a larger one.",
            code="budget_exceeded",
            param="budget",
        )
    if not storage.resume(session, experiment_id, spec.model_dump(mode="json")):
        raise Conflict(
            f"Experiment '{experiment_id}' is {row.status}; only a failed or cancelled one is "
            "resumed.",
            code="experiment_finished" if row.status == "completed" else "experiment_active",
        )
    judging_storage.reopen(session, experiment_id)
    tasks.enqueue(session, RUN, experiment_id)
    session.refresh(row)
    return to_wire(row)


def event_number(event_id: str | None) -> int | None:
    """Where to go on after; ``InvalidRequest`` for what is the id of no event."""
    if not event_id:
        return None
    if not (event_id.isascii() and event_id.isdigit() and len(event_id) <= 18):
        raise InvalidRequest(f"'{event_id[:40]}' is not the id of an event.", param="Last-Event-ID")
    return int(event_id)


def watch(
    session: Session, watchers: Watchers, experiment_id: str, after: int | None
) -> AsyncIterator[bytes]:
    """Its events after one, as they happen; nothing is kept open meanwhile."""
    row_of(session, experiment_id)
    return watchers.watch(experiment_id, after)


def delete(session: Session, artifacts: ArtifactStore, experiment_id: str) -> Deleted:
    """Remove it with its rows and its rendered report."""
    row = row_of(session, experiment_id)
    if row.status in storage.ACTIVE:
        raise Conflict(
            f"Experiment '{experiment_id}' is {row.status}; cancel it first.",
            code="experiment_active",
        )
    if tuning_storage.is_ending_jobs(session, experiment_id):
        raise Conflict(
            f"Jobs of experiment '{experiment_id}' are still being cancelled; delete it in a "
            "moment.",
            code="experiment_stopping",
        )
    storage.delete(session, row)
    after_commit(session, lambda: artifacts.delete(folder_of(experiment_id)))
    return Deleted(id=experiment_id, object="experiment.deleted")


def report(session: Session, experiment_id: str) -> Report:
    row = row_of(session, experiment_id, with_report=True)
    if row.report is None:
        raise Conflict(
            f"Experiment '{experiment_id}' is {row.status}: a report is there once it has "
            "completed.",
            code="report_not_ready",
        )
    return Report.model_validate(row.report)


def rendered(session: Session, artifacts: ArtifactStore, experiment_id: str, file: str) -> bytes:
    """``report.md``, ``report.html`` or ``forest.svg``, as the worker rendered it."""
    report(session, experiment_id)
    try:
        return artifacts.read_bytes(f"{folder_of(experiment_id)}/{file}")
    except FileNotFoundError as error:
        raise NotFound(
            f"'{file}' of experiment '{experiment_id}' is gone from the artifact store; "
            "its figures are still at /report.",
            code="artifact_gone",
        ) from error


def decide_gate(
    session: Session, experiment_id: str, ask: GateCreate, caller: str, floor: GateFloor | None
) -> Gate:
    """Decide and keep whether an arm passes."""
    found = report(session, experiment_id)
    arm, policy = arm_of(found, ask), applied(ask.policy, found)
    unscored = {
        name: storage.unscored_share(session, experiment_id, name)
        for name in (arm.name, found.spec.baseline)
    }
    reasons = shut_by(found, arm, policy, unscored, floor)
    gate = Gate(
        id=new_id("gate"),
        experiment_id=experiment_id,
        created_at=now(),
        created_by=caller,
        arm=arm.name,
        baseline=found.spec.baseline,
        model=arm.model,
        adapter_sha256=arm.sha256,
        passed=not reasons,
        reasons=reasons,
        policy=policy,
        floor=floor,
    )
    kept = gate.model_dump(mode="json")
    storage.add_gate(session, models.GateRow(id=gate.id, experiment_id=experiment_id, gate=kept))
    return gate


def flips_page(session: Session, experiment_id: str, query: FlipQuery) -> Page[Flip]:
    return page_of_flips(session, experiment_id, report(session, experiment_id), query)


def get_gate(session: Session, experiment_id: str, gate_id: str) -> Gate:
    row = storage.find_gate(session, experiment_id, gate_id)
    if row is None:
        raise NotFound(
            f"There is no gate '{gate_id}' of experiment '{experiment_id}'.",
            code="gate_not_found",
        )
    return Gate.model_validate(row.gate)


def gates_page(session: Session, experiment_id: str, cursor: Cursor) -> Page[Gate]:
    row_of(session, experiment_id)
    rows, more = storage.gates_page(session, experiment_id, cursor)
    return to_page([Gate.model_validate(row.gate) for row in rows], more)


def to_wire(row: models.Experiment) -> Experiment:
    return Experiment.model_validate(
        {
            "id": row.id,
            "created_at": int(row.created_at.timestamp()),
            "finished_at": int(row.finished_at.timestamp()) if row.finished_at else None,
            "name": row.name,
            "status": row.status,
            "progress": ExperimentProgress.model_validate(
                {
                    "phase": row.phase,
                    "done": row.done,
                    "total": row.total,
                    "seconds_left": row.seconds_left,
                }
            ),
            "spec": row.spec,
            "spec_sha256": row.spec_sha256,
            "spent": Spent.model_validate(
                row.spent | {"minutes": round(sum(row.timings.values()) / 60, 3)}
            ),
            "verdict": row.headline,
            "error": ExperimentError.model_validate(row.error) if row.error else None,
            "report_url": (
                f"/v1/experiments/{row.id}/report" if row.status == "completed" else None
            ),
        }
    )


def row_of(session: Session, experiment_id: str, *, with_report: bool = False) -> models.Experiment:
    row = storage.find(session, experiment_id, report=with_report)
    if row is None:
        raise NotFound(f"There is no experiment '{experiment_id}'.", code="experiment_not_found")
    return row
