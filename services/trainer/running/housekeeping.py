"""What a worker's main process does beside its jobs: send webhooks, and clear away what expired."""

import shutil
from datetime import timedelta
from functools import cache

import structlog

from services.common.db import Database
from services.common.storage import ArtifactStore
from services.common.tasks import do_chores
from services.common.webhooks import deliver
from services.trainer import storage, upload_storage
from services.trainer.models import Delivery
from services.trainer.settings import TrainerSettings

log = structlog.get_logger(__name__)


def keep_house(settings: TrainerSettings) -> None:
    """Start with the worker that is being built, and stop with it."""
    store = cache(lambda: ArtifactStore(settings.storage_url))
    do_chores(
        (
            lambda db: deliver(db, Delivery, settings.webhooks),
            lambda db: clear_expired_files(db, store()),
            lambda db: clear_uploads(db, store()),
            lambda db: clear_failed_runs(db, settings),
        ),
        database_url=settings.database_url,
    )


def clear_expired_files(db: Database, store: ArtifactStore) -> None:
    """The content first: of a kill in between, a row without content remains, and is met again."""
    with db.transaction() as session:
        for file in storage.lock_expired_files(session):
            # Asked again under the lock: a job may have been created since.
            if storage.unfinished_job_using(session, file.id) is None:
                store.delete(file.key)
                session.delete(file)


def clear_uploads(db: Database, store: ArtifactStore) -> None:
    """Remove the parts of uploads that are completed, cancelled or expired."""
    with db.transaction() as session:
        for upload in upload_storage.lock_ended_uploads(session):
            store.delete(upload.parts_key)
            if upload.status != "completed":
                store.delete(upload.file_key)
            upload_storage.forget_parts(session, upload.id)
            upload.cleared = True


def clear_failed_runs(db: Database, settings: TrainerSettings) -> None:
    """Remove the run folders on this host of jobs that failed ``keep_failed_days`` ago.

    A cancelled job's stays: its checkpoints may be wanted.
    """
    before = storage.now() - timedelta(days=settings.keep_failed_days)
    # A run's folder is not touched after the run: most looks end here, without a query.
    old = {
        folder.name: folder
        for folder in (settings.work_dir.iterdir() if settings.work_dir.exists() else ())
        if folder.is_dir() and folder.stat().st_mtime <= before.timestamp()
    }
    if not old:
        return
    with db.transaction() as session:
        due = storage.failed_before(session, list(old), before)
    for job_id in due:
        log.info("run_folder_removed", job=job_id)
        shutil.rmtree(old[job_id], ignore_errors=True)
