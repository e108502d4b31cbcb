"""The only SQL of the evaluator."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, defer, undefer

from services.common.pagination import Cursor, page_of
from services.evaluator.models import Answer, Experiment, Item, Json

ACTIVE = ("queued", "in_progress")


class AnswerKey(NamedTuple):
    item_id: str
    arm: str
    condition: str


def add(session: Session, experiment: Experiment) -> None:
    session.add(experiment)
    session.flush()


def find(session: Session, experiment_id: str, *, report: bool = False) -> Experiment | None:
    options = [undefer(Experiment.report)] if report else []
    return session.get(Experiment, experiment_id, options=options)


def page(session: Session, cursor: Cursor) -> tuple[list[Experiment], bool]:
    return page_of(session, select(Experiment), Experiment.id, cursor)


def cancel(session: Session, experiment_id: str) -> bool:
    """Cancel an active experiment and end its lease; False when it is not active."""
    row = session.execute(
        update(Experiment)
        .where(Experiment.id == experiment_id, Experiment.status.in_(ACTIVE))
        .values(
            status="canceled",
            finished_at=datetime.now(UTC),
            seconds_left=None,
            lease_owner=None,
            lease_expires_at=None,
        )
        .returning(Experiment.id)
    )
    return row.first() is not None


def delete(session: Session, experiment: Experiment) -> None:
    session.delete(experiment)
    session.flush()


def set_fields(session: Session, experiment_id: str, **values: Any) -> None:
    session.execute(update(Experiment).where(Experiment.id == experiment_id).values(**values))


def add_seconds(session: Session, experiment_id: str, phase: str, seconds: float) -> None:
    """Add to the time a phase took."""
    timings = Experiment.timings
    before = func.coalesce(timings[phase].as_float(), 0.0)
    session.execute(
        update(Experiment)
        .where(Experiment.id == experiment_id)
        .values(timings=timings.concat(func.jsonb_build_object(phase, before + seconds)))
    )


def add_items(session: Session, experiment_id: str, items: Sequence[Json]) -> None:
    session.execute(insert(Item), [{"experiment_id": experiment_id, **item} for item in items])


def item_ids(session: Session, experiment_id: str) -> set[str]:
    return set(session.scalars(select(Item.item_id).where(Item.experiment_id == experiment_id)))


def items(session: Session, experiment_id: str, start: int, stop: int) -> list[Item]:
    """Items with ordinals from ``start`` up to ``stop``, in their order."""
    return list(
        session.scalars(
            select(Item)
            .where(Item.experiment_id == experiment_id, Item.ordinal.between(start, stop - 1))
            .order_by(Item.ordinal)
        )
    )


def count_items(session: Session, experiment_id: str, *, with_evidence: bool = False) -> int:
    statement = select(func.count()).where(Item.experiment_id == experiment_id)
    if with_evidence:
        statement = statement.where(func.jsonb_array_length(Item.oracle) > 0)
    return session.scalar(statement) or 0


def answered(session: Session, experiment_id: str) -> set[AnswerKey]:
    rows = session.execute(
        select(Answer.item_id, Answer.arm, Answer.condition).where(
            Answer.experiment_id == experiment_id
        )
    )
    return {AnswerKey(*row) for row in rows}


def add_answers(session: Session, experiment_id: str, answers: Sequence[Json]) -> None:
    """Keep answers; one that is there already stays as it is."""
    session.execute(
        upsert(Answer).on_conflict_do_nothing(),
        [{"experiment_id": experiment_id, **answer} for answer in answers],
    )


def answers(session: Session, experiment_id: str) -> Iterator[Answer]:
    """All answers, without their text."""
    yield from session.scalars(
        select(Answer)
        .where(Answer.experiment_id == experiment_id)
        .options(defer(Answer.text))
        .execution_options(yield_per=1_000)
    )


def rows(
    session: Session,
    experiment_id: str,
    start: int,
    stop: int,
    *,
    arm: str | None = None,
    condition: str | None = None,
) -> Iterator[tuple[Item, Answer]]:
    """Answers to the items with ordinals from ``start`` up to ``stop``, by ordinal."""
    statement = (
        select(Item, Answer)
        .join(
            Answer,
            (Answer.experiment_id == Item.experiment_id) & (Answer.item_id == Item.item_id),
        )
        .where(Item.experiment_id == experiment_id, Item.ordinal.between(start, stop - 1))
        .order_by(Item.ordinal)
    )
    if arm is not None:
        statement = statement.where(Answer.arm == arm)
    if condition is not None:
        statement = statement.where(Answer.condition == condition)
    yield from session.execute(statement)
