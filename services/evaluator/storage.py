"""The only SQL of the evaluator."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import sqlalchemy
from sqlalchemy import func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session, defer, undefer

from services.common.contracts.budget import Spent
from services.common.pagination import Cursor, page_of
from services.evaluator import event_storage
from services.evaluator.models import Answer, Experiment, GateRow, Item, Json
from services.evaluator.spending import plus

ACTIVE = ("queued", "in_progress")


class AnswerKey(NamedTuple):
    item_id: str
    arm: str
    condition: str
    training_seed: int = 0
    repeat: int = 0


def key_of(answer: Json) -> AnswerKey:
    return AnswerKey(**{name: answer[name] for name in AnswerKey._fields})


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
    if row.first() is None:
        return False
    event_storage.tell(session, experiment_id, {"status": "canceled"})
    return True


def delete(session: Session, experiment: Experiment) -> None:
    session.delete(experiment)
    session.flush()


def set_fields(session: Session, experiment_id: str, **values: Any) -> None:
    """Change an experiment, and tell those who watch it."""
    session.execute(update(Experiment).where(Experiment.id == experiment_id).values(**values))
    event_storage.tell(session, experiment_id, values)


def add_seconds(session: Session, experiment_id: str, phase: str, seconds: float) -> None:
    """Add to the time a phase took."""
    timings = Experiment.timings
    before = func.coalesce(timings[phase].as_float(), 0.0)
    session.execute(
        update(Experiment)
        .where(Experiment.id == experiment_id)
        .values(timings=timings.concat(func.jsonb_build_object(phase, before + seconds)))
    )


def add_spent(session: Session, experiment_id: str, more: Spent) -> Spent:
    """Add to what was spent, whoever holds the lease; what there is then, minutes among it."""
    row = session.get(Experiment, experiment_id, with_for_update=True, populate_existing=True)
    if row is None:  # deleted meanwhile
        return more
    spent = plus(Spent.model_validate(row.spent), more)
    set_fields(session, experiment_id, spent=spent.model_dump(exclude={"minutes"}))
    return spent.model_copy(update={"minutes": sum(row.timings.values()) / 60})


def resume(session: Session, experiment_id: str, spec: Json) -> bool:
    """Queue it again where it was left, with the questions that never got an answer open again;
    False when it neither failed nor was cancelled."""
    row = session.execute(
        update(Experiment)
        .where(Experiment.id == experiment_id, Experiment.status.in_(("failed", "canceled")))
        .values(
            status="queued",
            phase="queued",
            done=0,
            total=0,
            spec=spec,
            error=None,
            finished_at=None,
            attempts=0,
            tunings=[],
            lease_owner=None,
            lease_expires_at=None,
        )
        .returning(Experiment.id)
    )
    if row.first() is None:
        return False
    event_storage.reopen(session, experiment_id)
    session.execute(
        sqlalchemy.delete(Answer).where(
            Answer.experiment_id == experiment_id, Answer.error.is_not(None)
        )
    )
    return True


def recent(session: Session, count: int) -> list[tuple[Json, Json, Json, list[Json] | None]]:
    """``(spec, timings, spent, comparisons)`` of the experiments completed last."""
    rows = session.execute(
        select(
            Experiment.spec, Experiment.timings, Experiment.spent, Experiment.report["comparisons"]
        )
        .where(Experiment.status == "completed")
        .order_by(Experiment.id.desc())
        .limit(count)
    )
    return [(spec, timings, spent, compared) for spec, timings, spent, compared in rows]


def add_items(session: Session, experiment_id: str, items: Sequence[Json]) -> None:
    session.execute(insert(Item), [{"experiment_id": experiment_id, **item} for item in items])


def item_ids(session: Session, experiment_id: str) -> set[str]:
    return set(session.scalars(select(Item.item_id).where(Item.experiment_id == experiment_id)))


def documents(session: Session, experiment_id: str) -> dict[str, str]:
    """The document that each item clusters by."""
    rows = session.execute(
        select(Item.item_id, Item.cluster).where(Item.experiment_id == experiment_id)
    )
    return {row.item_id: row.cluster for row in rows}


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
        select(
            Answer.item_id, Answer.arm, Answer.condition, Answer.training_seed, Answer.repeat
        ).where(Answer.experiment_id == experiment_id)
    )
    return {AnswerKey(*row) for row in rows}


def add_answers(session: Session, experiment_id: str, answers: Sequence[Json]) -> set[AnswerKey]:
    """Keep answers; one that is there already stays as it is. Returns those that are new."""
    kept = session.execute(
        upsert(Answer)
        .on_conflict_do_nothing()
        .returning(*(getattr(Answer, name) for name in AnswerKey._fields)),
        [{"experiment_id": experiment_id, **answer} for answer in answers],
    )
    return {AnswerKey(*row) for row in kept}


def answers(session: Session, experiment_id: str) -> Iterator[Answer]:
    """All answers, without their text."""
    yield from session.scalars(
        select(Answer)
        .where(Answer.experiment_id == experiment_id)
        .options(defer(Answer.text))
        .execution_options(yield_per=1_000)
    )


def panel(session: Session, experiment_id: str) -> list[Json]:
    """What arms said to the forgetting panel."""
    return session.scalar(select(Experiment.panel).where(Experiment.id == experiment_id)) or []


def add_attributions(session: Session, experiment_id: str, attributed: Sequence[Json]) -> None:
    """Put ``attribution`` to answers that are kept."""
    if attributed:
        session.execute(
            update(Answer), [{"experiment_id": experiment_id, **one} for one in attributed]
        )


def judge(session: Session, experiment_id: str) -> Json | None:
    return session.scalar(select(Experiment.judge).where(Experiment.id == experiment_id))


def count_answers(session: Session, experiment_id: str, *, judged: bool = False) -> int:
    """Answers that came; those that were ``judged`` only."""
    statement = select(func.count()).where(
        Answer.experiment_id == experiment_id, Answer.error.is_(None)
    )
    if judged:
        statement = statement.where(Answer.judgments.is_not(None))
    return session.scalar(statement) or 0


def unscored_share(session: Session, experiment_id: str, arm: str) -> float:
    """Of the arm's answers, those that never came."""
    share = session.scalar(
        select(func.count(Answer.error) * 1.0 / func.nullif(func.count(), 0)).where(
            Answer.experiment_id == experiment_id, Answer.arm == arm
        )
    )
    return 1.0 if share is None else float(share)


def add_gate(session: Session, gate: GateRow) -> None:
    session.add(gate)
    session.flush()


def find_gate(session: Session, experiment_id: str, gate_id: str) -> GateRow | None:
    return session.scalar(
        select(GateRow).where(GateRow.id == gate_id, GateRow.experiment_id == experiment_id)
    )


def gates_page(session: Session, experiment_id: str, cursor: Cursor) -> tuple[list[GateRow], bool]:
    asked = select(GateRow).where(GateRow.experiment_id == experiment_id)
    return page_of(session, asked, GateRow.id, cursor)


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
