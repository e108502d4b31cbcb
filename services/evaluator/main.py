"""The evaluator's application: ``uvicorn services.evaluator.main:app``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from services.common.app import create_service
from services.common.storage import ArtifactStore
from services.common.tasks import TaskQueue, make_celery
from services.common.watching import Watchers
from services.evaluator import api
from services.evaluator.dashboard.installation import install
from services.evaluator.evals import api as evals_api
from services.evaluator.judges.exam import api as exam_api
from services.evaluator.peers import ConnectPeers, connect_peers
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.watching import read

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(settings: EvaluatorSettings, *, connect: ConnectPeers = connect_peers) -> FastAPI:
    """Build the application; ``connect`` says how its peers are reached."""

    @asynccontextmanager
    async def resources(app: FastAPI) -> AsyncIterator[None]:
        app.state.artifacts = ArtifactStore(settings.storage_url)
        app.state.watchers = Watchers(app.state.db, read, most=settings.max_event_watchers)
        app.state.tasks = TaskQueue(make_celery("evaluator", settings.redis_url))
        try:
            async with connect(settings) as peers:
                app.state.peers = peers
                yield
        finally:
            app.state.tasks.close()

    app = create_service(
        "evaluator",
        settings,
        routers=[api.router, evals_api.router, exam_api.router],
        migrations=MIGRATIONS,
        resources=resources,
    )
    install(app)
    return app


def __getattr__(name: str) -> Any:
    # Built when a server asks for it: importing this module must need no environment.
    if name == "app":
        return create_app(EvaluatorSettings())
    raise AttributeError(name)
