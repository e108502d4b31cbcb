"""The trainer's application: ``uvicorn services.trainer.main:app``."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from services.common.app import BodyLimit, create_service
from services.common.storage import ArtifactStore
from services.common.tasks import TaskQueue, make_celery
from services.trainer import api
from services.trainer.service import Trainer
from services.trainer.settings import TrainerSettings

NAME = "trainer"
UPLOADS = "/v1/files"


def create_app(settings: TrainerSettings | None = None) -> FastAPI:
    settings = settings or TrainerSettings()

    @asynccontextmanager
    async def resources(app: FastAPI) -> AsyncIterator[None]:
        queue = TaskQueue(make_celery(NAME, settings.redis_url))
        app.state.trainer = Trainer(settings, ArtifactStore(settings.storage_url), queue)
        try:
            yield
        finally:
            queue.close()

    app = create_service(
        NAME,
        settings,
        routers=[api.files, api.fine_tuning],
        migrations=Path(__file__).parent / "migrations",
        resources=resources,
        streamed=lambda path: path == UPLOADS,
    )
    # Uploads have a limit of their own. Inside the keys: who may not upload is told so first.
    limit = settings.max_upload_bytes
    app.user_middleware.append(
        Middleware(BodyLimit, limit=limit, streamed=lambda path: path != UPLOADS)
    )
    return app


def __getattr__(name: str) -> Any:
    """Build ``app`` when the server asks for it, so that importing this module does no work."""
    if name == "app":
        return create_app()
    raise AttributeError(name)
