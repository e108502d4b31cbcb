"""Thin tasks: a message names an experiment, the runner does the rest."""

import asyncio
from contextlib import closing

from celery import Celery

from services.common.db import Database
from services.common.storage import ArtifactStore
from services.evaluator import service
from services.evaluator.peers import connect_peers
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
