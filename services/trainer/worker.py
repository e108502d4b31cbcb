"""The trainer's worker: ``celery -A services.trainer.worker worker``."""

import multiprocessing
import os
from collections.abc import Iterator
from functools import cache
from typing import Any

from celery import Celery
from celery.signals import worker_init, worker_process_init, worker_shutting_down

from services.common.db import Database
from services.common.leases import unclaimed
from services.common.storage import ArtifactStore
from services.common.tasks import make_celery, prepare_worker
from services.trainer.exports import EXPORT
from services.trainer.models import Export
from services.trainer.running.attempt import Workshop
from services.trainer.running.devices import note_devices
from services.trainer.running.exporting import UNFINISHED
from services.trainer.running.housekeeping import keep_house
from services.trainer.running.scheduling import devices, waits
from services.trainer.running.tether import die_with_parent
from services.trainer.service import FINE_TUNE
from services.trainer.settings import TrainerSettings
from services.trainer.tasks import add_tasks

NAME = "trainer"


def create_worker(settings: TrainerSettings | None = None) -> Celery:
    settings = settings or TrainerSettings()
    app = make_celery(NAME, settings.redis_url)
    app.conf.update(
        worker_concurrency=len(devices(settings)) + 1,
        # A wake-up about a slot of this host is for its own worker, whatever the others do.
        worker_direct=True,
    )
    # Before the fork, so that the pool's processes see what the main process sets.
    stopping = multiprocessing.Event()

    def opened(pool_size: int) -> Workshop:
        return Workshop(
            settings,
            Database(settings.database_url, pool_size=pool_size),
            ArtifactStore(settings.storage_url),
            wake=lambda: app.send_task(FINE_TUNE, args=[""], retry=False),
            stopping=stopping.is_set,
        )

    @cache
    def workshop() -> Workshop:
        return opened(pool_size=2)

    noted = False

    def waiting() -> Iterator[tuple[str, str]]:
        # Opened each time: a process of the pool that is forked later must inherit no connection.
        nonlocal noted
        shop = opened(pool_size=1)
        try:
            if not noted:
                note_devices(shop)
                noted = True
            something = waits(shop)
            with shop.db.transaction() as session:
                exports = unclaimed(session, Export, statuses=UNFINISHED)
        finally:
            shop.db.close()
        if something:
            yield FINE_TUNE, ""
        yield from ((EXPORT, export_id) for export_id in exports)

    main_process = 0

    def remember_main_process(**_: Any) -> None:
        nonlocal main_process
        main_process = os.getpid()

    def tie_to_main_process(**_: Any) -> None:
        die_with_parent(main_process)

    def stop(**_: Any) -> None:
        stopping.set()

    add_tasks(app, workshop)
    prepare_worker(
        app,
        service=NAME,
        log_level=settings.log_level,
        waiting=waiting,
        sweep_seconds=settings.sweep_seconds,
    )
    keep_house(settings)
    # A pool process whose main process was killed would keep its job, and no one could stop it.
    worker_init.connect(remember_main_process, weak=False)
    worker_process_init.connect(tie_to_main_process, weak=False)
    # Celery waits for tasks to end before it ends: trainings are saved and let go of.
    worker_shutting_down.connect(stop, weak=False)
    return app


def __getattr__(name: str) -> Any:
    """Build ``app`` when Celery asks for it, so that importing this module does no work."""
    if name == "app":
        return create_worker()
    raise AttributeError(name)
