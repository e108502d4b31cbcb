import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from services.common.db import Database
from services.common.tasks import TaskQueue, make_celery
from tests.services.common.conftest import Work

pytestmark = pytest.mark.faults


@pytest.fixture
def worker(db: Database, database_url: str, redis_url: str) -> Iterator[None]:
    command = f"{sys.executable} -m celery -A tests.services.common.counting_worker worker"
    process = subprocess.Popen(
        [*command.split(), "-Q", "floor", "-c", "1", "--pool", "solo"],
        env=os.environ | {"FLOOR_DATABASE_URL": database_url, "FLOOR_REDIS_URL": redis_url},
    )
    yield
    process.terminate()
    process.wait(timeout=30)


def attempts_when_done(db: Database, row_id: str) -> int:
    for _ in range(600):
        with db.transaction() as session:
            row = session.scalar(select(Work).where(Work.id == row_id))
            if row is not None and row.status == "done":
                return row.attempts
        time.sleep(0.1)
    raise AssertionError(f"{row_id} was never worked on")


def test_a_message_sent_twice_is_worked_on_once(db: Database, redis_url: str, worker: None) -> None:
    queue = TaskQueue(make_celery("floor", redis_url))
    with db.transaction() as session:
        session.add(Work(id="a"))
        queue.enqueue(session, "floor.work", "a")
        queue.enqueue(session, "floor.work", "a")
    with db.transaction() as session:
        session.add(Work(id="b"))
        queue.enqueue(session, "floor.work", "b")
    assert attempts_when_done(db, "b") == 1
    assert attempts_when_done(db, "a") == 1
    queue.close()


def test_a_row_whose_message_was_lost_is_found_by_the_sweeper(db: Database, worker: None) -> None:
    nowhere = TaskQueue(make_celery("floor", "redis://127.0.0.1:1/0"))
    with db.transaction() as session:
        session.add(Work(id="lost"))
        nowhere.enqueue(session, "floor.work", "lost")
    assert attempts_when_done(db, "lost") == 1
    nowhere.close()
