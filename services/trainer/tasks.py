"""The trainer's tasks: thin, idempotent, safe to receive twice."""

from collections.abc import Callable

from celery import Celery

from services.trainer.fine_tuning import Workshop, fine_tune
from services.trainer.service import FINE_TUNE


def add_tasks(app: Celery, workshop: Callable[[], Workshop]) -> None:
    """``workshop`` is opened by the process that runs the task, after the fork."""

    @app.task(name=FINE_TUNE)  # type: ignore[untyped-decorator]
    def run(job_id: str) -> None:
        fine_tune(workshop(), job_id)
