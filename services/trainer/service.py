"""The rules of files, jobs and the registry, as a caller meets them."""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.common.contracts.base import Deleted, Page
from services.common.contracts.trainer import (
    AdapterRecord,
    FileObject,
    FineTuningJob,
    FineTuningJobCreate,
    JobEvent,
)
from services.common.db import after_commit
from services.common.errors import Conflict, InvalidRequest, NotFound, RateLimited
from services.common.ids import new_id
from services.common.pagination import Cursor, to_page
from services.common.storage import CHUNK, ArtifactStore
from services.common.tasks import TaskQueue
from services.trainer import storage
from services.trainer.hyperparameters import reconcile
from services.trainer.models import File, Job
from services.trainer.schemas import UPLOAD_PURPOSES, FineTuningCheckpoint, Upload
from services.trainer.settings import TrainerSettings
from services.trainer.views import (
    show_adapter,
    show_checkpoint,
    show_event,
    show_file,
    show_job,
)

FINE_TUNE = "trainer.fine_tune"

_EVENT_ID = re.compile(r"ftevent_([0-9]{12,18})")


@dataclass(frozen=True)
class Trainer:
    """What the rules need beyond a session."""

    settings: TrainerSettings
    store: ArtifactStore
    queue: TaskQueue


# Files


def create_file(session: Session, trainer: Trainer, upload: Upload) -> FileObject:
    if upload.purpose not in UPLOAD_PURPOSES:
        raise InvalidRequest(
            f"'{upload.purpose[:40]}' is not a purpose; give one of {', '.join(UPLOAD_PURPOSES)}.",
            code="invalid_value",
            param="purpose",
        )
    row = File(
        id=new_id("file"),
        created_at=storage.now(),
        filename=upload.filename,
        purpose=upload.purpose,
    )
    stored = trainer.store.write(row.key, iter(lambda: upload.content.read(CHUNK), b""))
    if stored.bytes == 0:
        trainer.store.delete(row.key)
        raise InvalidRequest("The file is empty.", code="empty_file", param="file")
    row.size, row.sha256 = stored.bytes, stored.sha256
    storage.add_all(session, [row])
    return show_file(row)


def list_files(session: Session, cursor: Cursor, purpose: str | None) -> Page[FileObject]:
    rows, has_more = storage.list_files(session, cursor, purpose=purpose)
    return to_page([show_file(row) for row in rows], has_more)


def get_file(session: Session, file_id: str) -> FileObject:
    return show_file(_file(session, file_id))


def file_content(session: Session, trainer: Trainer, file_id: str) -> tuple[str, Iterator[bytes]]:
    """The file's name, and its bytes as a stream."""
    row = _file(session, file_id)
    if not trainer.store.exists(row.key):
        raise NotFound(f"The content of '{file_id}' is gone from the store.", code="content_gone")
    return row.filename, trainer.store.iter_bytes(row.key)


def delete_file(session: Session, trainer: Trainer, file_id: str) -> Deleted:
    row = _file(session, file_id, lock="update")
    if (job_id := storage.unfinished_job_using(session, file_id)) is not None:
        raise Conflict(
            f"Job '{job_id}' still reads this file; cancel it or wait until it has finished.",
            code="file_in_use",
        )
    session.delete(row)
    after_commit(session, lambda: trainer.store.delete(row.key))
    return Deleted(id=file_id, object="file")


def _file(
    session: Session, file_id: str, *, lock: str | None = None, param: str | None = None
) -> File:
    row = storage.get_file(session, file_id, lock=lock)
    if row is None:
        raise NotFound(
            f"There is no file '{file_id}'; upload it with POST /v1/files.",
            code="file_not_found",
            param=param,
        )
    return row


# Jobs


def create_job(session: Session, trainer: Trainer, ask: FineTuningJobCreate) -> FineTuningJob:
    known = trainer.settings.base_models
    if ask.model not in known:
        raise InvalidRequest(
            f"There is no base model '{ask.model}' here; give one of {', '.join(sorted(known))}.",
            code="model_not_found",
            param="model",
        )
    method = reconcile(ask.method, ask.hyperparameters)
    if method.supervised.hyperparameters.recipe == "rag" and not trainer.settings.retriever_url:
        raise InvalidRequest(
            "Recipe 'rag' needs a retriever, and this trainer is not told where one is; set "
            "FINEPROOF_TRAINER_RETRIEVER_URL.",
            code="retriever_not_configured",
            param="method.supervised.hyperparameters.recipe",
        )
    _training_data(session, ask.training_file, "training_file")
    if ask.validation_file is not None:
        _training_data(session, ask.validation_file, "validation_file")
    if storage.count_unfinished_jobs(session) >= trainer.settings.max_unfinished_jobs:
        raise RateLimited(
            f"{trainer.settings.max_unfinished_jobs} jobs wait or run already; try again later.",
            code="too_many_jobs",
            headers={"Retry-After": "60"},
        )
    job = Job(
        id=new_id("ftjob"),
        created_at=storage.now(),
        status="validating_files",
        model=ask.model,
        suffix=ask.suffix or method.supervised.hyperparameters.recipe,
        seed=secrets.randbelow(2**31) if ask.seed is None else ask.seed,
        training_file=ask.training_file,
        validation_file=ask.validation_file,
        method=method.model_dump(mode="json"),
        job_metadata=ask.metadata,
        step=0,
        result_files=[],
    )
    storage.add_all(session, [job])
    storage.add_event(session, job, f"Created fine-tuning job: {job.id}")
    trainer.queue.enqueue(session, FINE_TUNE, job.id)
    return show_job(job)


def _training_data(session: Session, file_id: str, param: str) -> None:
    """Check a job's file, and keep it from being deleted before the job is there to protect it."""
    row = _file(session, file_id, lock="share", param=param)
    if row.purpose != "fine-tune":
        raise InvalidRequest(
            f"File '{file_id}' was uploaded with purpose '{row.purpose}'; upload it again with "
            "purpose 'fine-tune'.",
            code="invalid_file_purpose",
            param=param,
        )


def list_jobs(
    session: Session, cursor: Cursor, metadata: dict[str, str] | None
) -> Page[FineTuningJob]:
    rows, has_more = storage.list_jobs(session, cursor, metadata=metadata)
    return to_page([show_job(row) for row in rows], has_more)


def get_job(session: Session, job_id: str) -> FineTuningJob:
    return show_job(_job(storage.get_job(session, job_id), job_id))


def cancel_job(session: Session, job_id: str) -> FineTuningJob:
    """Cancelling twice is one cancelling; a job that ended otherwise cannot be cancelled."""
    job = _job(storage.lock_job(session, job_id), job_id)
    if job.status in ("succeeded", "failed"):
        raise Conflict(f"Job '{job_id}' has {job.status} already.", code="job_finished")
    if job.status != "cancelled":
        job.status, job.finished_at, job.estimated_finish = "cancelled", storage.now(), None
        storage.add_event(session, job, "The job was cancelled.")
    return show_job(job)


def list_events(session: Session, job_id: str, cursor: Cursor) -> Page[JobEvent]:
    _job(storage.get_job(session, job_id), job_id)
    after = None
    if cursor.after is not None:
        named = _EVENT_ID.fullmatch(cursor.after)
        if named is None:
            raise InvalidRequest("'after' is not the id of an event.", param="after")
        after = int(named[1])
    rows, has_more = storage.list_events(session, job_id, cursor, after=after)
    return to_page([show_event(row) for row in rows], has_more)


def list_checkpoints(session: Session, job_id: str, cursor: Cursor) -> Page[FineTuningCheckpoint]:
    _job(storage.get_job(session, job_id), job_id)
    rows, has_more = storage.list_checkpoints(session, job_id, cursor)
    return to_page([show_checkpoint(row) for row in rows], has_more)


def _job(row: Job | None, job_id: str) -> Job:
    if row is None:
        raise NotFound(f"There is no fine-tuning job '{job_id}'.", code="job_not_found")
    return row


# Adapters


def list_adapters(session: Session, cursor: Cursor) -> Page[AdapterRecord]:
    rows, has_more = storage.list_adapters(session, cursor)
    return to_page([show_adapter(row) for row in rows], has_more)


def get_adapter(session: Session, name: str) -> AdapterRecord:
    row = storage.get_adapter(session, name)
    if row is None:
        raise NotFound(f"There is no adapter '{name}' in the registry.", code="adapter_not_found")
    return show_adapter(row)
