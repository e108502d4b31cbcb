"""The trainer's tasks: thin, idempotent, safe to receive twice."""

from collections.abc import Callable

from celery import Celery

from services.trainer.exports import EXPORT
from services.trainer.running.attempt import Workshop
from services.trainer.running.exporting import export
from services.trainer.running.scheduling import work
from services.trainer.service import FINE_TUNE


def add_tasks(app: Celery, workshop: Callable[[], Workshop]) -> None:
    """``workshop`` is opened by the process that runs the task, after the fork."""

    @app.task(name=FINE_TUNE)  # type: ignore[untyped-decorator]
    def run(_: str = "") -> None:
        work(workshop())

    @app.task(name=EXPORT)  # type: ignore[untyped-decorator]
    def run_export(export_id: str) -> None:
        export(workshop(), export_id)
