"""An experiment's events, for those who watch it."""

from sqlalchemy.orm import Session

from services.common.contracts.events import ExperimentEvent
from services.common.watching import Look, Told
from services.evaluator import event_storage, storage
from services.evaluator.models import Event


def read(session: Session, experiment_id: str, after: int | None, most: int) -> Look:
    ended = event_storage.status_of(session, experiment_id) not in storage.ACTIVE
    events = event_storage.after(session, experiment_id, after, most)
    return Look(ended=ended, events=[_told(event) for event in events])


def _told(row: Event) -> Told:
    event = ExperimentEvent.model_validate(
        {
            "id": str(row.id),
            "created_at": int(row.created_at.timestamp()),
            "type": row.type,
            "message": row.message,
            "data": row.data,
        }
    )
    return Told(number=row.id, id=event.id, type=event.type, data=event.model_dump_json())
