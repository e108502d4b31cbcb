"""The only SQL of the trainer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from services.common.pagination import Cursor, page_of
from services.trainer.models import (
    Adapter,
    Base,
    Checkpoint,
    Device,
    Event,
    Export,
    File,
    Job,
)

UNFINISHED = ("validating_files", "queued", "running")
"""In these a job waits for a worker or has one. A paused job does neither, nor has it ended."""

SWEEP = 100
"""Rows that a worker sees to at once beside its jobs."""

ENDED = ("succeeded", "failed", "cancelled")

PACED_JOBS = 10


def now() -> datetime:
    return datetime.now(UTC)


def get_file(session: Session, file_id: str, *, lock: str | None = None) -> File | None:
    """``lock`` is ``share`` to keep the row from being deleted, ``update`` to delete it."""
    statement = select(File).where(File.id == file_id)
    if lock is not None:
        statement = statement.with_for_update(read=lock == "share")
    return session.scalar(statement)


def list_files(session: Session, cursor: Cursor, *, purpose: str | None) -> tuple[list[File], bool]:
    statement = select(File).where(or_(File.expires_at.is_(None), File.expires_at > now()))
    if purpose is not None:
        statement = statement.where(File.purpose == purpose)
    return page_of(session, statement, File.id, cursor)


def _reads(file_id: Any) -> ColumnElement[bool]:
    return or_(
        Job.training_file == file_id,
        Job.validation_file == file_id,
        Job.checks["test_file"].astext == file_id,
    )


def files_of(session: Session, job: Job) -> dict[str, File]:
    """Those of the files ``job`` reads that are there, by id."""
    wanted = {job.training_file, job.validation_file, job.checks.get("test_file")}
    return {row.id: row for row in session.scalars(select(File).where(File.id.in_(wanted)))}


def unfinished_job_using(session: Session, file_id: str) -> str | None:
    """The id of a job that has not ended and reads the file."""
    return session.scalar(
        select(Job.id)
        .where(
            Job.status.not_in(ENDED),
            _reads(file_id),
        )
        .limit(1)
    )


def lock_expired_files(session: Session) -> Sequence[File]:
    """Some that no unfinished job reads; those that another worker looks at are passed over."""
    read = select(Job.id).where(
        Job.status.not_in(ENDED),
        _reads(File.id),
    )
    return session.scalars(
        select(File)
        .where(File.expires_at <= now(), ~read.exists())
        .order_by(File.expires_at)
        .limit(SWEEP)
        .with_for_update(skip_locked=True)
    ).all()


def count_open_jobs(session: Session, *, caller: str | None = None) -> int:
    """Jobs that have not ended, of everybody or of one caller."""
    statement = select(func.count()).where(Job.status.not_in(ENDED))
    if caller is not None:
        statement = statement.where(Job.caller == caller)
    return session.scalar(statement) or 0


def add_job(session: Session, job: Job) -> bool:
    """False when ``job``'s caller has used its idempotency key for a job before.

    Of two requests at once the second waits here for the first to commit.
    """
    try:
        with session.begin_nested():
            add_all(session, [job])
    except IntegrityError:
        return False
    return True


def job_of_key(session: Session, *, caller: str, idempotency_key: str) -> Job | None:
    return session.scalar(
        select(Job).where(Job.caller == caller, Job.idempotency_key == idempotency_key)
    )


def failed_before(session: Session, job_ids: Sequence[str], moment: datetime) -> set[str]:
    """Those of the jobs that failed before ``moment``."""
    return set(
        session.scalars(
            select(Job.id).where(
                Job.id.in_(job_ids), Job.status == "failed", Job.finished_at < moment
            )
        )
    )


def replace_devices(session: Session, rows: Sequence[Device]) -> None:
    for row in rows:
        session.merge(row)


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
    type: str = "message",
    data: dict[str, Any] | None = None,
) -> None:
    """Record what happened to ``job``, which is new or locked."""
    session.add(
        Event(
            job_id=job.id,
            created_at=now(),
            level=level,
            type=type,
            message=message,
            data=data,
        )
    )


def has_message(session: Session, job_id: str, message: str) -> bool:
    found = select(Event.id).where(Event.job_id == job_id, Event.message == message).limit(1)
    return session.scalar(found) is not None


def has_validation(session: Session, job_id: str, step: int) -> bool:
    """Whether the metrics of the validation after ``step`` are recorded."""
    found = select(Event.id).where(
        Event.job_id == job_id,
        Event.data.contains({"step": step}),
        Event.data.has_key("valid_loss"),
    )
    return session.scalar(found.limit(1)) is not None


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
    """Adapters in the order of their registration; one that is not there comes after nothing."""
    statement = select(Adapter)
    if cursor.after is not None:
        number = select(Adapter.number).where(Adapter.id == cursor.after).scalar_subquery()
        statement = statement.where(
            Adapter.number > number if cursor.order == "asc" else Adapter.number < number
        )
    return page_of(session, statement, Adapter.number, cursor.model_copy(update={"after": None}))


def get_export(session: Session, export_id: str) -> Export | None:
    return session.scalar(select(Export).where(Export.id == export_id))


def list_exports(session: Session, adapter_id: str, cursor: Cursor) -> tuple[list[Export], bool]:
    return page_of(
        session, select(Export).where(Export.adapter_id == adapter_id), Export.id, cursor
    )


def add_all(session: Session, rows: Sequence[Base]) -> None:
    session.add_all(rows)
    session.flush()


def device(session: Session, slot: str | None = None) -> Device | None:
    """That of a slot, else the one with the most memory that a worker has seen."""
    found = session.get(Device, slot) if slot else None
    return found or session.scalar(select(Device).order_by(Device.memory_bytes.desc()).limit(1))


def training_pace(session: Session, model: str, method: str) -> float | None:
    """Tokens a second of the last ``PACED_JOBS`` trainings of a base model by one method."""
    ran = (
        select(Job.trained_tokens, Job.training_seconds)
        .where(
            Job.model == model,
            Job.method["type"].astext == method,
            Job.trained_tokens > 0,
            Job.training_seconds > 0,
        )
        .order_by(Job.id.desc())
        .limit(PACED_JOBS)
        .subquery()
    )
    tokens, seconds = session.execute(
        select(func.sum(ran.c.trained_tokens), func.sum(ran.c.training_seconds))
    ).one()
    return float(tokens) / seconds if seconds else None
