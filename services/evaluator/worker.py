"""The evaluator's worker: ``celery -A services.evaluator.worker worker -Q evaluator``."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from celery import Celery

from services.common import leases
from services.common.db import Database
from services.common.tasks import do_chores, make_celery, prepare_worker
from services.common.webhooks import deliver
from services.evaluator import service, storage, tasks, tuning_storage
from services.evaluator.evals import service as evals_service
from services.evaluator.evals.models import EventRow, RunRow
from services.evaluator.judges.exam import service as exam
from services.evaluator.judges.exam.models import ExamRow
from services.evaluator.models import Experiment
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.turns import ACTIVE


def make_worker(settings: EvaluatorSettings) -> Celery:
    app = make_celery("evaluator", settings.redis_url)
    tasks.register(app, settings)

    def waiting() -> Iterator[tuple[str, str]]:
        # Opened for each look: a pool held here would be copied into every child process.
        with (
            closing(Database(settings.database_url, pool_size=1)) as db,
            db.transaction() as session,
        ):
            for experiment_id in leases.unclaimed(session, Experiment, statuses=storage.ACTIVE):
                yield service.RUN, experiment_id
            for experiment_id in tuning_storage.uncancelled(session):
                yield service.CANCEL_JOBS, experiment_id
            for run_id in leases.unclaimed(session, RunRow, statuses=storage.ACTIVE):
                yield evals_service.RUN, run_id
            for exam_id in leases.unclaimed(session, ExamRow, statuses=ACTIVE):
                yield exam.RUN, exam_id

    prepare_worker(app, service="evaluator", log_level=settings.log_level, waiting=waiting)
    if settings.webhooks:
        do_chores(
            [lambda db: deliver(db, EventRow, settings.webhooks)],
            database_url=settings.database_url,
        )
    return app


def __getattr__(name: str) -> Any:
    # Built when Celery asks for it: importing this module must need no environment.
    if name == "app":
        return make_worker(EvaluatorSettings())
    raise AttributeError(name)
