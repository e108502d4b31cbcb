"""The SQL of the queue: which job is next, and on which slot. The other SQL is in ``storage``.

Callers take turns. Next is a job that was running when its worker let go of it or died; then one of
the caller with the fewest jobs running; of those, the one whose last turn is longest ago; of those,
the one that has waited longest. Among the jobs of that caller, the larger ``priority`` goes first,
then the older job.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Select, and_, func, or_, select, text, update
from sqlalchemy.orm import Session

from services.trainer.models import Job
from services.trainer.storage import lock_job, now

TO_VALIDATE = ("validating_files",)
TRAINABLE = ("queued", "running")
HELD = ("queued", "running", "paused")
"""Statuses of a job in training: a worker keeps the lease of a paused one until it is saved."""


@dataclass(frozen=True)
class Turn:
    """A job and its lease. ``slot`` is None for one to validate, ``lost`` says that a worker before
    us died with it."""

    job_id: str
    slot: str | None
    lost: bool


@dataclass(frozen=True)
class Limits:
    """The slots of this host, as they stand on job rows, and how many jobs one caller may run."""

    slots: Sequence[str]
    per_caller: int | None


def next_turn(session: Session, limits: Limits, *, owner: str, lease: timedelta) -> Turn | None:
    """Take the lease of a job to validate, the oldest first, or else of one to train."""
    # Two workers that chose at once would take one job or one slot twice.
    session.execute(text("select pg_advisory_xact_lock(hashtext('fineproof.trainer.turns'))"))
    while (found := _find(session, limits)) is not None:
        job_id, slot = found
        job = lock_job(session, job_id)
        if job is None or job.status not in (TO_VALIDATE if slot is None else TRAINABLE):
            continue  # cancelled or paused since
        lost = job.lease_owner is not None
        if job.status == "queued":
            job.status, job.started_at = "running", now()
        job.slot, job.lease_owner, job.lease_expires_at = slot, owner, now() + lease
        job.attempts += 1
        session.flush()
        return Turn(job_id, slot, lost)
    return None


def anything_to_do(session: Session, limits: Limits) -> bool:
    """Whether :func:`next_turn` would find one."""
    return _find(session, limits) is not None


def let_go(session: Session, job_id: str, *, owner: str, after: timedelta | None = None) -> None:
    """Free the slot and the lease, if they are still ``owner``'s; ``after`` keeps others off."""
    session.execute(
        update(Job)
        .where(Job.id == job_id, Job.lease_owner == owner)
        .values(slot=None, lease_owner=None, lease_expires_at=after and now() + after)
        .execution_options(synchronize_session=False)
    )


def _held() -> ColumnElement[bool]:
    return and_(Job.lease_expires_at.is_not(None), Job.lease_expires_at >= now())


def _free() -> ColumnElement[bool]:
    return or_(Job.lease_expires_at.is_(None), Job.lease_expires_at < now())


def _find(session: Session, limits: Limits) -> tuple[str, str | None] | None:
    """The id of the next job, and the slot it would have; no slot for one to validate."""
    new = select(Job.id).where(Job.status.in_(TO_VALIDATE), _free()).order_by(Job.id).limit(1)
    if (job_id := session.scalar(new)) is not None:
        return job_id, None
    taken = set(session.scalars(select(Job.slot).where(Job.slot.in_(limits.slots), _held())))
    free = [slot for slot in limits.slots if slot not in taken]
    if not free or (job_id := session.scalar(_in_turn(limits.per_caller))) is None:
        return None
    return job_id, free[0]


def _in_turn(per_caller: int | None) -> Select[str]:
    callers = (
        select(
            Job.caller,
            func.count().filter(Job.slot.is_not(None), _held()).label("running"),
            func.max(Job.started_at).label("last_turn"),
        )
        .group_by(Job.caller)
        .subquery()
    )
    waiting = select(Job.id).join(callers, callers.c.caller == Job.caller)
    waiting = waiting.where(Job.status.in_(TRAINABLE), _free())
    if per_caller is not None:
        waiting = waiting.where(callers.c.running < per_caller)
    return waiting.order_by(
        (Job.status == "running").desc(),
        callers.c.running,
        callers.c.last_turn.asc().nulls_first(),
        func.min(Job.id).over(partition_by=Job.caller),
        Job.priority.desc(),
        Job.id,
    ).limit(1)
