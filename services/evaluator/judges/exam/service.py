"""The rules of exams: what may be sat, what may be done to one, and what is shown of it."""

import asyncio
from dataclasses import dataclass

from pydantic import BaseModel
from sqlalchemy.orm import Session

from services.common.contracts.base import Page
from services.common.contracts.exam import Exam, ExamCreate, ExamProgress, ExamReason
from services.common.contracts.exam_figures import ExamFigures
from services.common.errors import Conflict, InvalidRequest, NotFound
from services.common.ids import new_id
from services.common.pagination import Cursor, to_page
from services.common.tasks import TaskQueue
from services.evaluator.checking import evals_file
from services.evaluator.items import read_items
from services.evaluator.judges.exam import storage
from services.evaluator.judges.exam.models import ExamRow
from services.evaluator.peers import Peers
from services.evaluator.schemas import ItemLine

RUN = "evaluator.exam"


@dataclass(frozen=True)
class Checked:
    """An exam whose file and judge are known to be there."""

    ask: ExamCreate
    file_sha256: str


class Outcome(BaseModel):
    """What came of an exam."""

    exam_sha256: str
    judge_sha256: str
    items: int
    documents: int
    figures: list[ExamFigures]
    qualified: bool
    reasons: list[ExamReason]
    same_as: str | None


async def check(ask: ExamCreate, peers: Peers) -> Checked:
    """Refuse what could only fail later, with a sentence that says what to do."""
    file, _ = await asyncio.gather(
        evals_file(ask.file_id, peers, param="file_id"), _check_judge(ask.model, peers)
    )
    return Checked(ask, file.sha256)


async def _check_judge(model: str, peers: Peers) -> None:
    served = [one.id for one in (await peers.generator.models()).data]
    if model in served:
        return
    try:
        await peers.trainer.adapter(model)
    except NotFound as error:
        raise InvalidRequest(
            f"There is no model '{model}' to judge; {', '.join(served)} are served, adapters are "
            "listed at /v1/fine_tuning/adapters.",
            code="model_not_found",
            param="model",
        ) from error


async def items_of(file_id: str, peers: Peers, *, most: int) -> list[ItemLine]:
    """The lines of a file with purpose ``evals``."""
    await evals_file(file_id, peers, param="file_id")
    async with peers.trainer.file_lines(file_id) as lines:
        return await read_items(lines, most=most)


def create(session: Session, tasks: TaskQueue, checked: Checked) -> Exam:
    row = ExamRow(
        id=new_id("exam"),
        spec=checked.ask.model_dump(mode="json"),
        file_sha256=checked.file_sha256,
        model=checked.ask.model,
    )
    storage.add(session, row)
    tasks.enqueue(session, RUN, row.id)
    return to_wire(row)


def get(session: Session, exam_id: str) -> Exam:
    return to_wire(_found(session, exam_id))


def page(session: Session, cursor: Cursor) -> Page[Exam]:
    rows, more = storage.page(session, cursor)
    return to_page([to_wire(row) for row in rows], more)


def judges(session: Session, cursor: Cursor) -> Page[Exam]:
    """Every judge that has sat an exam, as the last one it completed."""
    rows, more = storage.latest(session, cursor)
    return to_page([to_wire(row) for row in rows], more)


def cancel(session: Session, exam_id: str) -> Exam:
    """Stop it; its worker notices within seconds. Cancelling twice is no mistake."""
    storage.end(session, exam_id, "canceled")
    row = _found(session, exam_id)
    if row.status != "canceled":
        raise Conflict(f"Exam '{exam_id}' has {row.status} already.", code="exam_finished")
    return to_wire(row)


def to_wire(row: ExamRow) -> Exam:
    outcome = Outcome.model_validate(row.outcome) if row.outcome else None
    return Exam.model_validate(
        {
            "id": row.id,
            "created_at": int(row.created_at.timestamp()),
            "finished_at": int(row.finished_at.timestamp()) if row.finished_at else None,
            "model": row.model,
            "adapter_sha256": row.adapter_sha256,
            "status": row.status,
            "progress": ExamProgress(done=row.done, total=row.total, seconds_left=row.seconds_left),
            "spec": row.spec,
            "file_sha256": row.file_sha256,
            "error": row.error,
            **(outcome.model_dump() if outcome else dict.fromkeys(_UNKNOWN)),
            "reasons": outcome.reasons if outcome else [],
        }
    )


_UNKNOWN = ("exam_sha256", "judge_sha256", "items", "documents", "figures", "qualified", "same_as")


def _found(session: Session, exam_id: str) -> ExamRow:
    row = storage.find(session, exam_id)
    if row is None:
        raise NotFound(f"There is no exam '{exam_id}'.", code="exam_not_found")
    return row
