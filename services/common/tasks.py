"""The one file that knows Celery.

A message carries a row's id and nothing else. It is sent after the commit, may get lost and may
arrive twice: the row decides. The sweeper of each worker sends rows that wait unclaimed again.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import structlog
from celery import Celery
from celery.signals import setup_logging, worker_ready, worker_shutting_down
from celery.utils.nodenames import worker_direct
from kombu.transport.redis import Channel, QoS
from sqlalchemy.orm import Session

from services.common.db import Database, after_commit
from services.common.telemetry import configure_logging

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 10.0
_RAREST = 32  # sweeps between two sendings of a row that goes on waiting


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


class Acknowledgements(QoS):  # type: ignore[misc]
    """kombu's, of messages whose connection broke while their task ran.

    A closed channel has no connection to acknowledge over: kombu 5.7 raises AttributeError, no
    connection error to Celery 5.7, whose worker ends. Such a message is left; Redis delivers it
    again after the visibility timeout, and its row says that there is nothing to do.
    """

    # kombu would put unacknowledged messages back through the connection that broke: with Redis
    # away that error ends the worker too. The sweeper sends their rows again instead.
    restore_at_shutdown = False

    def ack(self, delivery_tag: str) -> None:
        if self.channel.connection is not None:
            super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        if self.channel.connection is not None:
            super().reject(delivery_tag, requeue=requeue)


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


class Backlog:
    """Which rows that wait are to be sent again: at once, then after 1, 2, 4 … sweeps."""

    def __init__(self) -> None:
        self._pauses: dict[tuple[str, str], tuple[int, int]] = {}  # sweeps left, of how many

    def due(self, waiting: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those of one sweep's rows. One that was not among the last sweep's begins anew."""
        last, self._pauses, found = self._pauses, {}, []
        for row in waiting:
            left, pause = last.get(row, (0, 0))
            if not left:
                found.append(row)
                left = pause = min(2 * pause or 1, _RAREST)
            self._pauses[row] = left - 1, pause
        return found

    def forget(self) -> None:
        self._pauses.clear()


def prepare_worker(
    app: Celery,
    *,
    service: str,
    log_level: str,
    waiting: Callable[[], Iterable[tuple[str, str]]],
    sweep_seconds: float = SWEEP_SECONDS,
) -> None:
    """Give a worker JSON logs, and a sweeper that sends what ``waiting`` yields.

    ``waiting`` gives ``(task name, row id)`` pairs of rows nobody holds; it runs at the start and
    every ``sweep_seconds`` in the worker's main process. A row that goes on waiting is sent ever
    more rarely, lest a long queue grows by itself. With Celery's ``worker_direct`` they go to this
    worker alone, and one not begun by the next sweep is forgotten.
    """
    stop = threading.Event()
    backlog = Backlog()

    def _logs(**_: Any) -> None:
        configure_logging(f"{service}-worker", log_level)

    def sweep(node: str) -> None:
        direct = {"queue": worker_direct(node), "expires": sweep_seconds}
        options = direct if app.conf.worker_direct else {}
        while True:
            try:
                found = list(waiting())
                for task, row_id in found if app.conf.worker_direct else backlog.due(found):
                    log.info("swept", task=task, row=row_id)
                    app.send_task(task, args=[row_id], retry=False, **options)
            except Exception as error:
                log.warning("sweep_failed", error=repr(error))
                backlog.forget()  # what was to be sent may not have been
            if stop.wait(sweep_seconds):
                return

    def _start(sender: Any, **_: Any) -> None:
        threading.Thread(target=sweep, args=(sender.hostname,), name="sweeper", daemon=True).start()

    def _stop(**_: Any) -> None:
        stop.set()

    Channel.QoS = Acknowledgements
    setup_logging.connect(_logs, weak=False)
    worker_ready.connect(_start, weak=False)
    worker_shutting_down.connect(_stop, weak=False)


def do_chores(
    chores: Sequence[Callable[[Database], None]], *, database_url: str, seconds: float = 2.0
) -> None:
    """Have the main process of the worker that is being built do ``chores`` while it runs.

    Here and not in tasks: behind work that lasts days, a task would wait as long.
    """
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(seconds):
            # Opened each time: a process of the pool that is forked later must inherit none.
            db = Database(database_url, pool_size=1)
            for chore in chores:
                try:
                    chore(db)
                except Exception as error:
                    log.warning("chore_failed", error=repr(error))
            db.close()

    def _start(**_: Any) -> None:
        threading.Thread(target=work, name="chores", daemon=True).start()

    def _stop(**_: Any) -> None:
        stop.set()

    worker_ready.connect(_start, weak=False)
    worker_shutting_down.connect(_stop, weak=False)
