"""The only SQL of the trainer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from services.common.pagination import Cursor, page_of
from services.trainer.models import Adapter, Checkpoint, Event, File, Job

UNFINISHED = ("validating_files", "queued", "running")


def now() -> datetime:
    return datetime.now(UTC)


def get_file(session: Session, file_id: str, *, lock: str | None = None) -> File | None:
    """``lock`` is ``share`` to keep the row from being deleted, ``update`` to delete it."""
    statement = select(File).where(File.id == file_id)
    if lock is not None:
        statement = statement.with_for_update(read=lock == "share")
    return session.scalar(statement)


def list_files(session: Session, cursor: Cursor, *, purpose: str | None) -> tuple[list[File], bool]:
    statement = select(File)
    if purpose is not None:
        statement = statement.where(File.purpose == purpose)
    return page_of(session, statement, File.id, cursor)


def unfinished_job_using(session: Session, file_id: str) -> str | None:
    """The id of a waiting or running job that reads the file."""
    return session.scalar(
        select(Job.id)
        .where(
            Job.status.in_(UNFINISHED),
            or_(Job.training_file == file_id, Job.validation_file == file_id),
        )
        .limit(1)
    )


def count_unfinished_jobs(session: Session) -> int:
    return session.scalar(select(func.count()).where(Job.status.in_(UNFINISHED))) or 0


def get_job(session: Session, job_id: str) -> Job | None:
    return session.scalar(select(Job).where(Job.id == job_id))


def lock_job(session: Session, job_id: str) -> Job | None:
    """The job as committed, locked until the transaction ends."""
    return session.scalar(
        select(Job)
        .where(Job.id == job_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )


def list_jobs(
    session: Session, cursor: Cursor, *, metadata: dict[str, str] | None
) -> tuple[list[Job], bool]:
    """Jobs whose metadata hold all given pairs; an empty dict finds jobs without metadata."""
    statement = select(Job)
    if metadata:
        statement = statement.where(Job.job_metadata.contains(metadata))
    elif metadata is not None:
        statement = statement.where(Job.job_metadata == {})
    return page_of(session, statement, Job.id, cursor)


def add_event(
    session: Session,
    job: Job,
    message: str,
    *,
    level: str = "info",
    data: dict[str, Any] | None = None,
) -> None:
    """Record what happened to ``job``, which is new or locked; ``data`` makes it ``metrics``."""
    session.add(
        Event(
            job_id=job.id,
            created_at=now(),
            level=level,
            type="message" if data is None else "metrics",
            message=message,
            data=data,
        )
    )


def list_events(
    session: Session, job_id: str, cursor: Cursor, *, after: int | None
) -> tuple[list[Event], bool]:
    """Events of a job; ``after`` takes the place of the cursor's own."""
    statement = select(Event).where(Event.job_id == job_id)
    if after is not None:
        statement = statement.where(Event.id > after if cursor.order == "asc" else Event.id < after)
    return page_of(session, statement, Event.id, cursor.model_copy(update={"after": None}))


def list_checkpoints(
    session: Session, job_id: str, cursor: Cursor
) -> tuple[list[Checkpoint], bool]:
    statement = select(Checkpoint).where(Checkpoint.job_id == job_id)
    return page_of(session, statement, Checkpoint.id, cursor)


def get_adapter(session: Session, name: str) -> Adapter | None:
    return session.scalar(select(Adapter).where(Adapter.id == name))


def list_adapters(session: Session, cursor: Cursor) -> tuple[list[Adapter], bool]:
    """Adapters in the order of their jobs: names do not sort by time, job ids do."""
    after = cursor.after and cursor.after.rsplit(":", 1)[-1]
    return page_of(
        session, select(Adapter), Adapter.job_id, cursor.model_copy(update={"after": after})
    )


def add_all(session: Session, rows: Sequence[File | Job | Adapter | Checkpoint]) -> None:
    session.add_all(rows)
    session.flush()
