"""What was trained by which definition: SQL of adapters that experiments have made."""

from collections.abc import Sequence

from sqlalchemy import and_, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from services.evaluator.models import Experiment, Json, Tuning
from services.evaluator.spending import BudgetExceeded
from services.evaluator.storage import ACTIVE

_STOPPED = or_(
    Experiment.status == "canceled", Experiment.error["code"].astext == BudgetExceeded.code
)

_ENDING_JOBS = and_(_STOPPED, Experiment.tunings.contains([{"settled": False}]))


def find(session: Session, definition: str) -> Tuning | None:
    return session.get(Tuning, definition)


def add(session: Session, definition: str, sample: str, file_id: str) -> Tuning:
    """What was to be trained; the row of whoever was first."""
    session.execute(
        upsert(Tuning)
        .values(definition=definition, sample=sample, file_id=file_id, attempt=0)
        .on_conflict_do_nothing()
    )
    return session.get_one(Tuning, definition)


def again(session: Session, definition: str, *, attempt: int, file_id: str) -> Tuning:
    """Begin a new attempt after number ``attempt``, unless somebody else has."""
    session.execute(
        update(Tuning)
        .where(Tuning.definition == definition, Tuning.attempt == attempt)
        .values(attempt=attempt + 1, file_id=file_id, job_id=None)
    )
    return session.get_one(Tuning, definition, populate_existing=True)


def set_job(session: Session, definition: str, *, attempt: int, job_id: str) -> None:
    session.execute(
        update(Tuning)
        .where(Tuning.definition == definition, Tuning.attempt == attempt)
        .values(job_id=job_id)
    )


def file_of(session: Session, sample: str) -> str | None:
    """A file at the trainer that holds ``sample``, as far as is known."""
    return session.scalar(select(Tuning.file_id).where(Tuning.sample == sample).limit(1))


def jobs_of(session: Session, experiment_id: str) -> list[Json]:
    row = session.get(Experiment, experiment_id)
    return list(row.tunings) if row else []


def uncancelled(session: Session) -> Sequence[str]:
    """Experiments, cancelled or out of budget, whose jobs may still be training."""
    return session.scalars(select(Experiment.id).where(_ENDING_JOBS).limit(100)).all()


def is_ending_jobs(session: Session, experiment_id: str) -> bool:
    """Whether it is stopped and its jobs may still be training."""
    of_it = select(Experiment.id).where(Experiment.id == experiment_id, _ENDING_JOBS)
    return session.scalar(of_it) is not None


def settle(session: Session, experiment_id: str) -> None:
    """Note that a stopped experiment has nothing under way, unless it goes on meanwhile."""
    row = session.scalar(
        select(Experiment).where(Experiment.id == experiment_id, _STOPPED).with_for_update()
    )
    if row is not None:
        row.tunings = [entry | {"settled": True} for entry in row.tunings]


def is_wanted(session: Session, job_id: str) -> bool:
    """Whether an unfinished experiment waits for the job."""
    return (
        session.scalar(
            select(Experiment.id)
            .where(
                Experiment.status.in_(ACTIVE),
                Experiment.tunings.contains([{"job_id": job_id}]),
            )
            .limit(1)
        )
        is not None
    )
