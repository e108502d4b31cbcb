"""The rules of experiments: what may be done to one, and what is shown of it."""

import asyncio
from collections.abc import AsyncIterator

from sqlalchemy.orm import Session

from services.common.contracts.base import Deleted, Page
from services.common.contracts.evaluator import (
    AnswerRow,
    Experiment,
    ExperimentCreate,
    ExperimentError,
    ExperimentProgress,
    Report,
)
from services.common.contracts.generator import Condition
from services.common.db import Database, after_commit
from services.common.errors import Conflict, InvalidRequest, NotFound
from services.common.ids import new_id
from services.common.pagination import Cursor, to_page
from services.common.storage import ArtifactStore
from services.common.tasks import TaskQueue
from services.evaluator import models, storage
from services.evaluator.checking import Checked
from services.evaluator.schemas import RowQuery

RUN = "evaluator.run"
ROWS_AT_ONCE = 100  # items whose answers are read in one transaction


def folder_of(experiment_id: str) -> str:
    """The key of an experiment's folder in the artifact store."""
    return f"experiments/{experiment_id}"


def create(session: Session, tasks: TaskQueue, checked: Checked) -> Experiment:
    row = models.Experiment(
        id=new_id("exp"),
        name=checked.ask.name,
        spec=checked.ask.model_dump(mode="json"),
        dataset_sha256=checked.dataset_sha256,
    )
    storage.add(session, row)
    tasks.enqueue(session, RUN, row.id)
    return to_wire(row)


def get(session: Session, experiment_id: str) -> Experiment:
    return to_wire(_found(session, experiment_id))


def page(session: Session, cursor: Cursor) -> Page[Experiment]:
    rows, more = storage.page(session, cursor)
    return to_page([to_wire(row) for row in rows], more)


def cancel(session: Session, experiment_id: str) -> Experiment:
    """Stop it; its worker notices within seconds. Cancelling twice is no mistake."""
    storage.cancel(session, experiment_id)
    row = _found(session, experiment_id)
    if row.status != "canceled":
        raise Conflict(
            f"Experiment '{experiment_id}' has {row.status} already.", code="experiment_finished"
        )
    return to_wire(row)


def delete(session: Session, artifacts: ArtifactStore, experiment_id: str) -> Deleted:
    """Remove it with its rows and its rendered report."""
    row = _found(session, experiment_id)
    if row.status in storage.ACTIVE:
        raise Conflict(
            f"Experiment '{experiment_id}' is {row.status}; cancel it first.",
            code="experiment_active",
        )
    storage.delete(session, row)
    after_commit(session, lambda: artifacts.delete(folder_of(experiment_id)))
    return Deleted(id=experiment_id, object="experiment.deleted")


def report(session: Session, experiment_id: str) -> Report:
    row = _found(session, experiment_id, with_report=True)
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


def check_rows(session: Session, query: RowQuery) -> RowQuery:
    """Refuse rows of an experiment or an arm that is not there."""
    arms = [arm["name"] for arm in _found(session, query.experiment_id).spec["arms"]]
    if query.arm is not None and query.arm not in arms:
        raise InvalidRequest(
            f"There is no arm '{query.arm}'; the arms are {', '.join(arms)}.",
            code="unknown_arm",
            param="arm",
        )
    return query


async def row_lines(db: Database, query: RowQuery) -> AsyncIterator[bytes]:
    """The answers as JSON lines, in the order of items, conditions and arms.

    One short transaction for ``ROWS_AT_ONCE`` items, none while a line is on its way.
    """
    start = 0
    while True:
        lines, total = await asyncio.to_thread(_some_lines, db, query, start)
        for line in lines:
            yield line
        start += ROWS_AT_ONCE
        if start >= total:
            return


def _some_lines(db: Database, query: RowQuery, start: int) -> tuple[list[bytes], int]:
    with db.transaction() as session:
        experiment = storage.find(session, query.experiment_id)
        if experiment is None:  # deleted under the reader
            return [], 0
        spec = ExperimentCreate.model_validate(experiment.spec)
        arms = {arm.name: (n, arm.model) for n, arm in enumerate(spec.arms)}
        found = storage.rows(
            session,
            query.experiment_id,
            start,
            start + ROWS_AT_ONCE,
            arm=query.arm,
            condition=query.condition,
        )
        ordered = sorted(
            found,
            key=lambda row: (
                row[0].ordinal,
                spec.conditions.index(condition_of(row[1])),
                arms[row[1].arm][0],
            ),
        )
        lines = [
            to_row(item, answer, arms[answer.arm][1]).model_dump_json().encode() + b"\n"
            for item, answer in ordered
        ]
        return lines, storage.count_items(session, query.experiment_id)


def condition_of(answer: models.Answer) -> Condition:
    return answer.condition  # type: ignore[return-value]  # the column holds nothing else


def to_row(item: models.Item, answer: models.Answer, model: str) -> AnswerRow:
    return AnswerRow(
        experiment_id=answer.experiment_id,
        item_id=item.item_id,
        cluster=item.cluster,
        arm=answer.arm,
        model=model,
        adapter_sha256=answer.adapter_sha256,
        condition=condition_of(answer),
        question=item.question,
        reference=item.reference,
        answer=answer.text,
        finish_reason=answer.finish_reason,
        passage_ids=answer.passage_ids,
        prompt_sha256=answer.prompt_sha256,
        completion_tokens=answer.completion_tokens,
        scores=answer.scores,
        error=answer.error,
    )


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
            "verdict": row.headline,
            "error": ExperimentError.model_validate(row.error) if row.error else None,
            "report_url": (
                f"/v1/experiments/{row.id}/report" if row.status == "completed" else None
            ),
        }
    )


def _found(session: Session, experiment_id: str, *, with_report: bool = False) -> models.Experiment:
    row = storage.find(session, experiment_id, report=with_report)
    if row is None:
        raise NotFound(f"There is no experiment '{experiment_id}'.", code="experiment_not_found")
    return row
