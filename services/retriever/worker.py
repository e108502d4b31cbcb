"""The retriever's worker: ``celery -A services.retriever.worker worker``."""

from typing import Any

from celery import Celery

from services.common.db import Database
from services.common.tasks import SWEEP_SECONDS, do_chores, make_celery, prepare_worker
from services.retriever import cache, expiry, ingestion
from services.retriever.settings import RetrieverSettings
from services.retriever.tasks import Resources, register


def create_worker(settings: RetrieverSettings | None = None) -> Celery:
    settings = settings or RetrieverSettings()
    app = make_celery("retriever", settings.redis_url)
    register(app, Resources(settings))
    # The sweeper runs in the worker's main process, whose connections no forked child may touch.
    sweeper = Resources(settings)
    prepare_worker(
        app,
        service="retriever",
        log_level=settings.log_level,
        waiting=lambda: ingestion.waiting(sweeper.db),
    )
    do_chores(
        (expiry.sweep, lambda db: forget_unused(db, days=settings.embedding_cache_days)),
        database_url=settings.database_url,
        seconds=SWEEP_SECONDS,
    )
    return app


def forget_unused(db: Database, *, days: int) -> None:
    with db.transaction() as session:
        cache.forget(session, days=days)


def __getattr__(name: str) -> Any:
    """Build ``app`` when Celery asks for it, so that importing this module does no work."""
    if name == "app":
        return create_worker()
    raise AttributeError(name)
