"""Thin tasks: a message names an experiment, an eval's run or an exam; a runner does the rest."""

import asyncio
from contextlib import closing

from celery import Celery

from services.common.db import Database
from services.common.storage import ArtifactStore
from services.evaluator import service
from services.evaluator.evals import service as evals_service
from services.evaluator.evals.running import run_eval
from services.evaluator.judges.exam import service as exam
from services.evaluator.judges.exam.runner import run_exam
from services.evaluator.peers import connect_peers
from services.evaluator.phases.tuning import cancel_jobs
from services.evaluator.runner import run_experiment
from services.evaluator.settings import EvaluatorSettings


def register(app: Celery, settings: EvaluatorSettings) -> None:
    @app.task(name=service.RUN)  # type: ignore[untyped-decorator]  # celery has no types
    def run(experiment_id: str) -> None:
        # A pool of its own: connections do not survive the fork that made this process.
        with closing(Database(settings.database_url, pool_size=4)) as db:
            asyncio.run(
                run_experiment(
                    experiment_id,
                    db=db,
                    artifacts=ArtifactStore(settings.storage_url),
                    settings=settings,
                    connect=connect_peers,
                )
            )

    @app.task(name=service.CANCEL_JOBS)  # type: ignore[untyped-decorator]
    def cancel_its_jobs(experiment_id: str) -> None:
        async def work(db: Database) -> None:
            async with connect_peers(settings) as peers:
                await cancel_jobs(experiment_id, db=db, peers=peers)

        with closing(Database(settings.database_url, pool_size=1)) as db:
            asyncio.run(work(db))

    @app.task(name=evals_service.RUN)  # type: ignore[untyped-decorator]  # celery has no types
    def run_of_eval(run_id: str) -> None:
        with closing(Database(settings.database_url, pool_size=4)) as db:
            asyncio.run(run_eval(run_id, db=db, settings=settings, connect=connect_peers))

    @app.task(name=exam.RUN)  # type: ignore[untyped-decorator]  # celery has no types
    def examine(exam_id: str) -> None:
        with closing(Database(settings.database_url, pool_size=4)) as db:
            asyncio.run(run_exam(exam_id, db=db, settings=settings, connect=connect_peers))
