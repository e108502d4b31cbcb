"""The one file that knows Celery.

A message carries a row's id and nothing else. It is sent after the commit, may get lost and may
arrive twice: the row decides. The sweeper of each worker sends rows that wait unclaimed again.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from sqlalchemy.orm import Session

from services.common.db import after_commit
from services.common.telemetry import configure_logging

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 10.0


def make_celery(service: str, redis_url: str) -> Celery:
    """The Celery application of one service: one queue, named after it."""
    app = Celery(service, broker=redis_url)
    app.conf.update(
        task_default_queue=service,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        # Redis away must not hang a request that has already committed: the sweeper recovers it.
        broker_transport_options={
            "visibility_timeout": 24 * 3600,
            "socket_connect_timeout": 2,
            "socket_timeout": 10,
            # How often a sender tries to connect; kombu's own default goes on for six seconds.
            "max_retries": 1,
            "interval_start": 0.1,
            "interval_step": 0.1,
            "interval_max": 0.2,
        },
    )
    return app


class TaskQueue:
    """How an API hands a row to its worker."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def enqueue(self, session: Session, task: str, row_id: str) -> None:
        """Send ``task(row_id)`` once the transaction of ``session`` is committed."""
        after_commit(session, lambda: self.send(task, row_id))

    def send(self, task: str, row_id: str) -> None:
        self._app.send_task(task, args=[row_id], retry=False)

    def close(self) -> None:
        self._app.close()


def prepare_worker(
    app: Celery,
    *,
    service: str,
    log_level: str,
    waiting: Callable[[], Iterable[tuple[str, str]]],
) -> None:
    """Give a worker JSON logs, and a sweeper that sends what ``waiting`` yields.

    ``waiting`` gives ``(task name, row id)`` pairs of rows nobody holds; it runs every
    ``SWEEP_SECONDS`` in the worker's main process.
    """
    stop = threading.Event()

    def _logs(**_: Any) -> None:
        configure_logging(f"{service}-worker", log_level)

    def sweep() -> None:
        while not stop.wait(SWEEP_SECONDS):
            try:
                for task, row_id in waiting():
                    log.info("swept", task=task, row=row_id)
                    app.send_task(task, args=[row_id], retry=False)
            except Exception as error:
                log.warning("sweep_failed", error=repr(error))

    def _start(**_: Any) -> None:
        threading.Thread(target=sweep, name="sweeper", daemon=True).start()

    def _stop(**_: Any) -> None:
        stop.set()

    setup_logging.connect(_logs, weak=False)
    worker_ready.connect(_start, weak=False)
    worker_shutting_down.connect(_stop, weak=False)
