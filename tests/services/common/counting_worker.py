"""A worker of the small service: it marks rows as done, once each."""

import os
import time

from services.common.db import Database
from services.common.leases import claim, this_worker, unclaimed
from services.common.tasks import make_celery, prepare_worker
from tests.services.common.conftest import Work

db = Database(os.environ["FLOOR_DATABASE_URL"], pool_size=2)
app = make_celery("floor", os.environ["FLOOR_REDIS_URL"])


def waiting() -> list[tuple[str, str]]:
    with db.transaction() as session:
        return [("floor.work", row) for row in unclaimed(session, Work, statuses=("queued",))]


@app.task(name="floor.work")
def work(row_id: str) -> None:
    with db.transaction() as session:
        if claim(session, Work, row_id, owner=this_worker(), statuses=("queued",)):
            row = session.get(Work, row_id, populate_existing=True)
            assert row is not None
            row.status = "done"


@app.task(name="floor.long_work")
def long_work(row_id: str) -> None:
    """Done when someone has called the row ``enough``."""
    with db.transaction() as session:
        if not claim(session, Work, row_id, owner=this_worker(), statuses=("long",)):
            return
    while True:
        with db.transaction() as session:
            row = session.get(Work, row_id, populate_existing=True)
            assert row is not None
            if row.status == "enough":
                row.status = "done"
                return
        time.sleep(0.1)


prepare_worker(app, service="floor", log_level="INFO", waiting=waiting)
