"""Judges and their exams over HTTP."""

from fastapi import APIRouter
from starlette.responses import StreamingResponse

from services.common.app import SessionDep
from services.common.contracts.base import Page
from services.common.contracts.exam import Exam, ExamplesCreate
from services.common.pagination import CursorDep
from services.evaluator.deps import TasksDep
from services.evaluator.judges.exam import service
from services.evaluator.judges.exam.deps import CheckedDep, ExamId, ItemsDep
from services.evaluator.judges.exam.examples import example_lines

router = APIRouter(prefix="/v1/judges", tags=["judges"])


@router.get("")
def list_judges(session: SessionDep, cursor: CursorDep) -> Page[Exam]:
    """Every model that has sat an exam, by the last one it completed."""
    return service.judges(session, cursor)


@router.post("/exams", status_code=201)
def create_exam(checked: CheckedDep, session: SessionDep, tasks: TasksDep) -> Exam:
    """Let a judge grade answers whose order is known; returns at once, watch ``progress``."""
    return service.create(session, tasks, checked)


@router.get("/exams")
def list_exams(session: SessionDep, cursor: CursorDep) -> Page[Exam]:
    return service.page(session, cursor)


@router.get("/exams/{exam_id}")
def get_exam(exam_id: ExamId, session: SessionDep) -> Exam:
    return service.get(session, exam_id)


@router.post("/exams/{exam_id}/cancel")
def cancel_exam(exam_id: ExamId, session: SessionDep) -> Exam:
    return service.cancel(session, exam_id)


@router.post("/examples")
def create_examples(ask: ExamplesCreate, items: ItemsDep) -> StreamingResponse:
    """Chats that teach a judge, one JSON object a line: a file for a fine-tuning job."""
    return StreamingResponse(example_lines(items, ask), media_type="application/x-ndjson")
