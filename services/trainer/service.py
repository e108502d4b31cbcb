"""The rules of jobs and the registry, as a caller meets them."""

import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from services.common.contracts.base import Page
from services.common.contracts.trainer import (
    AdapterRecord,
    Checks,
    FineTuningJob,
    FineTuningJobCreate,
    JobEvent,
)
from services.common.errors import Conflict, InvalidRequest, NotFound, RateLimited
from services.common.ids import new_id
from services.common.pagination import Cursor, to_page
from services.trainer import storage
from services.trainer.context import Trainer
from services.trainer.endings import finish
from services.trainer.files import find_file, training_data
from services.trainer.hyperparameters import recipe_of, reconcile
from services.trainer.models import Job
from services.trainer.schemas import FineTuningCheckpoint
from services.trainer.trackers import check_integrations
from services.trainer.views import show_adapter, show_checkpoint, show_event, show_job

FINE_TUNE = "trainer.fine_tune"

_EVENT_ID = re.compile(r"ftevent_([0-9]{12,18})")


@dataclass(frozen=True)
class Origin:
    """Who asks for a job, and the ``Idempotency-Key`` by which asking again gives the same job."""

    caller: str
    idempotency_key: str | None = None


@dataclass(frozen=True)
class EventStart:
    """The id of the last event seen, and which parameter said so."""

    after: str | None
    param: str


def create_job(
    session: Session, trainer: Trainer, ask: FineTuningJobCreate, origin: Origin
) -> FineTuningJob:
    asked = hashlib.sha256(ask.model_dump_json().encode()).hexdigest()
    if (known := _same_job(session, origin, asked)) is not None:
        return show_job(known)
    job = new_job(session, trainer, ask)
    job.caller, job.idempotency_key, job.request_sha256 = (
        origin.caller,
        origin.idempotency_key,
        asked,
    )
    if not storage.add_job(session, job):
        winner = _same_job(session, origin, asked)
        assert winner is not None  # nothing else is unique, and jobs are never deleted
        return show_job(winner)
    _check_limits(session, trainer, origin.caller)
    storage.add_event(session, job, f"Created fine-tuning job: {job.id}")
    trainer.queue.enqueue(session, FINE_TUNE, job.id)
    return show_job(job)


def _same_job(session: Session, origin: Origin, asked: str) -> Job | None:
    """The job this key has made. Raises ``Conflict`` when the key came with another body."""
    if origin.idempotency_key is None:
        return None
    job = storage.job_of_key(session, caller=origin.caller, idempotency_key=origin.idempotency_key)
    if job is not None and job.request_sha256 != asked:
        raise Conflict(
            f"This Idempotency-Key made job '{job.id}' from another body; use a new key.",
            code="idempotency_key_reused",
            param="Idempotency-Key",
        )
    return job


def _check_limits(session: Session, trainer: Trainer, caller: str) -> None:
    """Raises ``RateLimited`` when the job just added is one too many."""
    mine = storage.count_open_jobs(session, caller=caller)
    everybody = storage.count_open_jobs(session)
    for whose, count, most in (
        ("Your key", mine, trainer.settings.max_unfinished_jobs_per_caller),
        ("This trainer", everybody, trainer.settings.max_unfinished_jobs),
    ):
        if count > most:
            raise RateLimited(
                f"{whose} has {most} unfinished jobs already; try again later, or cancel one.",
                code="too_many_jobs",
                headers={"Retry-After": "60"},
            )


def new_job(session: Session, trainer: Trainer, ask: FineTuningJobCreate) -> Job:
    """The job that ``ask`` would make, not added; raises what is wrong with it."""
    known = trainer.settings.base_models
    if ask.model not in known:
        raise InvalidRequest(
            f"There is no base model '{ask.model}' here; give one of {', '.join(sorted(known))}.",
            code="model_not_found",
            param="model",
        )
    method = reconcile(ask.method, ask.hyperparameters, validates=ask.validation_file is not None)
    recipe = recipe_of(method.hyperparameters)
    if recipe in ("rag", "raft") and not trainer.settings.retriever_url:
        raise InvalidRequest(
            f"Recipe '{recipe}' needs a retriever, and this trainer is not told where one is; set "
            "FINEPROOF_TRAINER_RETRIEVER_URL.",
            code="retriever_not_configured",
            param="method.supervised.hyperparameters.recipe",
        )
    check_integrations(trainer.settings, ask.integrations)
    training_data(session, ask.training_file, "training_file")
    if ask.validation_file is not None:
        training_data(session, ask.validation_file, "validation_file")
    _can_check(session, trainer, ask.checks)
    return Job(
        id=new_id("ftjob"),
        created_at=storage.now(),
        status="validating_files",
        model=ask.model,
        suffix=ask.suffix or recipe,
        seed=secrets.randbelow(2**31) if ask.seed is None else ask.seed,
        training_file=ask.training_file,
        validation_file=ask.validation_file,
        method=method.model_dump(mode="json", exclude_none=True),
        job_metadata=ask.metadata,
        priority=ask.priority,
        checks=ask.checks.model_dump(mode="json"),
        integrations=[each.model_dump(mode="json") for each in ask.integrations or ()],
        step=0,
        result_files=[],
    )


def _can_check(session: Session, trainer: Trainer, checks: Checks) -> None:
    """Raises where a job's checks name a file or a service that is not there."""
    if checks.test_file is not None:
        find_file(session, checks.test_file, lock="share", param="checks.test_file")
    for wanted, peer, url in (
        ("vector_store_id", "retriever", trainer.settings.retriever_url),
        ("known_facts", "generator", trainer.settings.generator_url),
    ):
        if getattr(checks, wanted) and not url:
            raise InvalidRequest(
                f"'checks.{wanted}' needs a {peer}, and this trainer is not told where one is; set "
                f"FINEPROOF_TRAINER_{peer.upper()}_URL.",
                code=f"{peer}_not_configured",
                param=f"checks.{wanted}",
            )


def list_jobs(
    session: Session, cursor: Cursor, metadata: dict[str, str] | None
) -> Page[FineTuningJob]:
    rows, has_more = storage.list_jobs(session, cursor, metadata=metadata)
    return to_page([show_job(row) for row in rows], has_more)


def get_job(session: Session, job_id: str) -> FineTuningJob:
    return show_job(_job(storage.get_job(session, job_id), job_id))


def cancel_job(session: Session, trainer: Trainer, job_id: str) -> FineTuningJob:
    """Cancelling twice is one cancelling; a job that ended otherwise cannot be cancelled."""
    job = _job(storage.lock_job(session, job_id), job_id)
    if job.status != "cancelled":
        _refuse_ended(job)
        finish(session, job, "cancelled", trainer.settings.webhooks)
        storage.add_event(session, job, "The job was cancelled.")
    return show_job(job)


def pause_job(session: Session, job_id: str) -> FineTuningJob:
    """Pausing twice is one pausing. A worker that has the job saves where it is and leaves it."""
    job = _job(storage.lock_job(session, job_id), job_id)
    _refuse_ended(job)
    if job.status != "paused":
        job.paused_from, job.status, job.estimated_finish = job.status, "paused", None
        storage.add_event(session, job, "The job was paused.")
    return show_job(job)


def resume_job(session: Session, trainer: Trainer, job_id: str) -> FineTuningJob:
    job = _job(storage.lock_job(session, job_id), job_id)
    _refuse_ended(job)
    if job.status != "paused":
        raise Conflict(f"Job '{job_id}' is not paused.", code="job_not_paused")
    never_validated = job.paused_from == "validating_files"
    job.status = "validating_files" if never_validated else "queued"
    # Taken up again by a person's will, not because its workers died: the count starts anew.
    job.paused_from, job.attempts = None, 0
    storage.add_event(session, job, "The job was resumed.")
    trainer.queue.enqueue(session, FINE_TUNE, job.id)
    return show_job(job)


def _refuse_ended(job: Job) -> None:
    if job.status in storage.ENDED:
        raise Conflict(f"Job '{job.id}' has {job.status} already.", code="job_finished")


def list_events(session: Session, job_id: str, cursor: Cursor) -> Page[JobEvent]:
    _job(storage.get_job(session, job_id), job_id)
    after = _event_number(cursor.after, "after")
    rows, has_more = storage.list_events(session, job_id, cursor, after=after)
    return to_page([show_event(row) for row in rows], has_more)


def watch_events(
    session: Session, trainer: Trainer, job_id: str, start: EventStart
) -> AsyncIterator[bytes]:
    """The job's events from ``start`` on, as they happen; nothing is kept open meanwhile."""
    _job(storage.get_job(session, job_id), job_id)
    return trainer.watchers.watch(job_id, _event_number(start.after, start.param))


def _event_number(after: str | None, param: str) -> int | None:
    if after is None:
        return None
    named = _EVENT_ID.fullmatch(after)
    if named is None:
        raise InvalidRequest(f"'{param}' is not the id of an event.", param=param)
    return int(named[1])


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
