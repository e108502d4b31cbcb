"""The SQL of what happens to experiments, told to those who watch.

An experiment has a handful of phases, its latest progress, and one warning a code: however long it
runs, its events are few. Whoever tells holds the experiment's row, so that numbers rise as they are
committed and a watcher misses none.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, func, insert, select
from sqlalchemy.orm import Session

from services.evaluator.models import Event, Experiment, Json

_MOST_WARNINGS = 20  # codes of one experiment


def tell(session: Session, experiment_id: str, changed: Mapping[str, object]) -> None:
    """Tell what a change of the experiment's fields means, if anything."""
    if changed.get("status") in ("completed", "failed", "canceled"):
        _tell(session, experiment_id, "done")
    elif "phase" in changed:
        _tell(session, experiment_id, "phase")
    elif "done" in changed:
        _forget(session, experiment_id, "progress")
        _tell(session, experiment_id, "progress")


def warn(session: Session, experiment_id: str, code: str, message: str, count: int) -> None:
    """Add ``count`` to the warnings of ``code``; beyond a number of codes nothing is told."""
    mine = (Event.experiment_id == experiment_id, Event.type == "warning")
    before = {
        data["code"]: data["count"] for data in session.scalars(select(Event.data).where(*mine))
    }
    if code not in before and len(before) >= _MOST_WARNINGS:
        return
    session.execute(delete(Event).where(*mine, Event.data["code"].astext == code))
    data = {"code": code, "count": before.get(code, 0) + count}
    _add(session, experiment_id, "warning", message, data)


def reopen(session: Session, experiment_id: str) -> None:
    """It goes on: that it had ended is told no more."""
    _forget(session, experiment_id, "done")
    _tell(session, experiment_id, "phase")


def after(session: Session, experiment_id: str, number: int | None, most: int) -> Sequence[Event]:
    """Events later than ``number``, oldest first."""
    asked = select(Event).where(Event.experiment_id == experiment_id)
    if number is not None:
        asked = asked.where(Event.id > number)
    return session.scalars(asked.order_by(Event.id).limit(most)).all()


def status_of(session: Session, experiment_id: str) -> str | None:
    return session.scalar(select(Experiment.status).where(Experiment.id == experiment_id))


def _tell(session: Session, experiment_id: str, kind: str) -> None:
    status, phase, done, total, left, verdict, error = session.execute(
        select(
            Experiment.status,
            Experiment.phase,
            Experiment.done,
            Experiment.total,
            Experiment.seconds_left,
            Experiment.headline,
            Experiment.error,
        ).where(Experiment.id == experiment_id)
    ).one()
    if kind == "done":
        reason = error["message"] if error else verdict
        message = f"{status}: {reason}" if reason else status
        ended = {"status": status, "verdict": verdict, "error": error}
        _add(session, experiment_id, kind, message, ended)
        return
    progress = {"phase": phase, "done": done, "total": total, "seconds_left": left}
    message = f"{phase}: {done} of {total}" if total else phase
    _add(session, experiment_id, kind, message, {"status": status, "progress": progress})


def _add(session: Session, experiment_id: str, kind: str, message: str, data: Json) -> None:
    row = {"experiment_id": experiment_id, "type": kind, "message": message, "data": data}
    session.execute(insert(Event).values(row | {"created_at": func.now()}))


def _forget(session: Session, experiment_id: str, kind: str) -> None:
    session.execute(delete(Event).where(Event.experiment_id == experiment_id, Event.type == kind))
