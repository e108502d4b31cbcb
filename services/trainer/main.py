"""The trainer's application: ``uvicorn services.trainer.main:app``."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware import Middleware

from services.common.app import BodyLimit, create_service
from services.common.storage import ArtifactStore
from services.common.tasks import TaskQueue, make_celery
from services.common.watching import Watchers
from services.trainer import api, export_routes
from services.trainer.context import Trainer
from services.trainer.settings import TrainerSettings
from services.trainer.uploads import PART_BYTES
from services.trainer.watching import read

NAME = "trainer"
FILES = re.compile("/v1/files")
PARTS = re.compile("/v1/uploads/[^/]+/parts")
PART_FORM_BYTES = PART_BYTES + 64 * 1024


def _limit(paths: re.Pattern[str], size: int) -> Middleware:
    """Uploads have limits of their own. Inside the keys: who may not upload is told so first."""
    return Middleware(BodyLimit, limit=size, streamed=lambda path: not paths.fullmatch(path))


def create_app(settings: TrainerSettings | None = None) -> FastAPI:
    settings = settings or TrainerSettings()

    @asynccontextmanager
    async def resources(app: FastAPI) -> AsyncIterator[None]:
        queue = TaskQueue(make_celery(NAME, settings.redis_url))
        app.state.trainer = Trainer(
            settings,
            ArtifactStore(settings.storage_url),
            queue,
            Watchers(app.state.db, read, most=settings.max_event_watchers),
        )
        try:
            yield
        finally:
            queue.close()

    app = create_service(
        NAME,
        settings,
        routers=[api.files, api.uploads, export_routes.exports, api.fine_tuning],
        migrations=Path(__file__).parent / "migrations",
        resources=resources,
        streamed=lambda path: bool(FILES.fullmatch(path) or PARTS.fullmatch(path)),
    )
    app.user_middleware += [
        _limit(FILES, settings.max_upload_bytes),
        _limit(PARTS, PART_FORM_BYTES),
    ]
    return app


def __getattr__(name: str) -> Any:
    """Build ``app`` when the server asks for it, so that importing this module does no work."""
    if name == "app":
        return create_app()
    raise AttributeError(name)
