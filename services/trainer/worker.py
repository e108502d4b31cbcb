"""The trainer's worker: ``celery -A services.trainer.worker worker``."""

import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_process_init

from services.common.db import Database
from services.common.leases import unclaimed
from services.common.storage import ArtifactStore
from services.common.tasks import make_celery, prepare_worker
from services.trainer import storage
from services.trainer.fine_tuning import Workshop
from services.trainer.models import Job
from services.trainer.service import FINE_TUNE
from services.trainer.settings import TrainerSettings
from services.trainer.tasks import add_tasks
from services.trainer.tether import die_with_parent

NAME = "trainer"


def create_worker(settings: TrainerSettings | None = None) -> Celery:
    settings = settings or TrainerSettings()
    app = make_celery(NAME, settings.redis_url)

    @cache
    def workshop() -> Workshop:
        db = Database(settings.database_url, pool_size=2)
        return Workshop(settings, db, ArtifactStore(settings.storage_url))

    def waiting() -> Iterator[tuple[str, str]]:
        # While messages wait, an unclaimed job is behind them: sending it again would only
        # lengthen the queue.
        if queued_messages(app):
            return
        db = Database(settings.database_url, pool_size=1)
        try:
            with db.transaction() as session:
                ids = unclaimed(session, Job, statuses=storage.UNFINISHED)
        finally:
            db.close()
        yield from ((FINE_TUNE, job_id) for job_id in ids)

    main_process = 0

    def remember_main_process(**_: Any) -> None:
        nonlocal main_process
        main_process = os.getpid()

    def tie_to_main_process(**_: Any) -> None:
        die_with_parent(main_process)

    add_tasks(app, workshop)
    prepare_worker(app, service=NAME, log_level=settings.log_level, waiting=waiting)
    # A pool process whose main process was killed would keep its job, and no one could stop it.
    worker_init.connect(remember_main_process, weak=False)
    worker_process_init.connect(tie_to_main_process, weak=False)
    return app


def queued_messages(app: Celery) -> int:
    with app.connection_for_read() as connection, connection.channel() as channel:
        return int(channel.queue_declare(NAME).message_count)


def __getattr__(name: str) -> Any:
    """Build ``app`` when Celery asks for it, so that importing this module does no work."""
    if name == "app":
        return create_worker()
    raise AttributeError(name)
