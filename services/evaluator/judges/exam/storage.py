"""The only SQL of exams."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.common.pagination import Cursor, page_of
from services.evaluator.judges.exam.models import ExamRow, SittingRow
from services.evaluator.models import Json
from services.evaluator.turns import ACTIVE


def add(session: Session, exam: ExamRow) -> None:
    session.add(exam)
    session.flush()


def find(session: Session, exam_id: str) -> ExamRow | None:
    return session.get(ExamRow, exam_id)


def page(session: Session, cursor: Cursor) -> tuple[list[ExamRow], bool]:
    return page_of(session, select(ExamRow), ExamRow.id, cursor)


def latest(session: Session, cursor: Cursor) -> tuple[list[ExamRow], bool]:
    """Of each judge, told by model and adapter, the exam it completed last."""
    newest = (
        select(func.max(ExamRow.id))  # ids sort by time
        .where(ExamRow.status == "completed")
        .group_by(ExamRow.model, ExamRow.adapter_sha256)
    )
    return page_of(session, select(ExamRow).where(ExamRow.id.in_(newest)), ExamRow.id, cursor)


def set_fields(session: Session, exam_id: str, **values: Any) -> None:
    session.execute(update(ExamRow).where(ExamRow.id == exam_id).values(**values))


def end(session: Session, exam_id: str, status: str, **values: Any) -> bool:
    """Finish an active exam and its lease; False when it is not active."""
    row = session.execute(
        update(ExamRow)
        .where(ExamRow.id == exam_id, ExamRow.status.in_(ACTIVE))
        .values(
            status=status,
            finished_at=datetime.now(UTC),
            seconds_left=None,
            lease_owner=None,
            lease_expires_at=None,
            **values,
        )
        .execution_options(synchronize_session=False)
        .returning(ExamRow.id)
    )
    return row.first() is not None


def find_sitting(session: Session, judge_sha256: str, exam_sha256: str) -> SittingRow | None:
    return session.get(SittingRow, (judge_sha256, exam_sha256))


def add_sitting(
    session: Session, judge_sha256: str, exam_sha256: str, sat_for: str, figures: Sequence[Json]
) -> None:
    """Keep what a judge made of a paper; what is there stays as it is."""
    session.execute(
        insert(SittingRow)
        .values(
            judge_sha256=judge_sha256,
            exam_sha256=exam_sha256,
            sat_for=sat_for,
            figures=list(figures),
        )
        .on_conflict_do_nothing()
    )
