import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from fineproof.local.redis import running_redis
from services.common.db import Database
from services.common.tasks import TaskQueue, make_celery
from tests.conftest import free_port
from tests.servers import Server
from tests.services.common.conftest import Work

pytestmark = pytest.mark.faults


@contextmanager
def running_worker(
    database_url: str, redis_url: str, *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    command = f"{sys.executable} -m celery -A tests.services.common.counting_worker worker"
    process = subprocess.Popen(
        [*command.split(), "-Q", "floor", "-c", "1", *options],
        env=os.environ | {"FLOOR_DATABASE_URL": database_url, "FLOOR_REDIS_URL": redis_url},
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def worker(db: Database, database_url: str, redis_url: str) -> Iterator[None]:
    with running_worker(database_url, redis_url, "--pool", "solo"):
        yield


def wait_for_row(db: Database, row_id: str, is_so: Callable[[Work], bool]) -> Work:
    for _ in range(600):
        with db.transaction() as session:
            row = session.scalar(select(Work).where(Work.id == row_id))
            if row is not None and is_so(row):
                session.expunge(row)
                return row
        time.sleep(0.1)
    raise AssertionError(f"{row_id} was never worked on")


def attempts_when_done(db: Database, row_id: str) -> int:
    return wait_for_row(db, row_id, lambda row: row.status == "done").attempts


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


@pytest.mark.parametrize("keeps", [True, False], ids=["with its data", "without its data"])
def test_redis_restarts_while_a_task_runs_and_the_worker_stays(
    db: Database, database_url: str, tmp_path: Path, keeps: bool
) -> None:
    port = free_port()
    server = Server(lambda: running_redis(tmp_path / "redis", port))
    queue = TaskQueue(make_celery("floor", server.url))
    with running_worker(database_url, server.url) as worker:
        with db.transaction() as session:
            session.add(Work(id="long", status="long"))
            queue.enqueue(session, "floor.long_work", "long")
        wait_for_row(db, "long", lambda row: row.lease_owner is not None)
        server.stop()
        if not keeps:
            shutil.rmtree(tmp_path / "redis")
        server.start()
        with db.transaction() as session:
            session.get_one(Work, "long").status = "enough"
        assert attempts_when_done(db, "long") == 1
        with db.transaction() as session:
            session.add(Work(id="next"))
            queue.enqueue(session, "floor.work", "next")
        assert attempts_when_done(db, "next") == 1
        assert worker.poll() is None
    queue.close()
    server.stop()
