"""A job's events, for those who watch it."""

from sqlalchemy.orm import Session

from services.common.pagination import Cursor
from services.common.watching import Look, Told
from services.trainer import storage
from services.trainer.models import Event
from services.trainer.views import show_event


def read(session: Session, job_id: str, after: int | None, most: int) -> Look:
    job = storage.get_job(session, job_id)
    ended = job is None or job.status in storage.ENDED
    page = Cursor(limit=most, order="asc")
    events, _ = storage.list_events(session, job_id, page, after=after)
    return Look(ended=ended, events=[_told(event) for event in events])


def _told(row: Event) -> Told:
    event = show_event(row)
    return Told(number=row.id, id=event.id, type=event.type, data=event.model_dump_json())
