"""The retriever's application: ``uvicorn services.retriever.main:app``."""

import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI

from services.common.app import create_service
from services.common.clients.trainer import TrainerClient
from services.common.db import Reader
from services.common.errors import RateLimited
from services.common.line import Line, LineMetrics
from services.common.tasks import TaskQueue, make_celery
from services.retriever import api, candidates, file_routes
from services.retriever.embedding import Embedder, Reranker
from services.retriever.searching import Searches
from services.retriever.settings import RetrieverSettings
from services.retriever.vector_index import ensure
from services.retriever.writing import Writes

MIGRATIONS = Path(__file__).parent / "migrations"
_STORE = r"/v1/vector_stores/[^/]+"


def create_app(settings: RetrieverSettings | None = None) -> FastAPI:
    settings = settings or RetrieverSettings()

    @asynccontextmanager
    async def resources(app: FastAPI) -> AsyncIterator[None]:
        app.state.queue = TaskQueue(make_celery("retriever", settings.redis_url))
        embedder = Embedder.from_settings(settings, threads=settings.query_threads, shared=True)
        reranker = Reranker.from_settings(settings, threads=settings.query_threads)
        app.state.embedder = embedder

        def go_on() -> None:
            # Not beside the other: transformers sets defaults of torch's while it loads.
            if reranker is not None:
                reranker.load_in_background()
            ensure(app.state.db, embedder.dimensions)

        embedder.load_in_background(go_on)
        # Half the connections: the other half is for what locks no store.
        app.state.writes = Writes(app.state.db, most=settings.database_pool_size)
        line = _line(settings, LineMetrics("retriever", app.state.metrics.registry))
        app.state.searches = Searches(
            Reader(
                settings.database_url,
                pool_size=settings.database_pool_size,
                on_loop=settings.search_connections,
                settings=_of_a_search(settings),
            ),
            embedder,
            reranker,
            line=line,
            at_once=settings.search_connections,
        )
        # Each search may be a thread at a time: with all places taken, other routes have theirs.
        current_default_thread_limiter().total_tokens += line.places
        try:
            async with TrainerClient.connect(settings.trainer_url, settings.peer_key) as trainer:
                app.state.trainer = trainer
                yield
        finally:
            await app.state.searches.aclose()
            for each in (embedder, reranker, app.state.queue):
                if each is not None:
                    each.close()

    def ready(app: FastAPI) -> None:
        app.state.searches.check()

    return create_service(
        "retriever",
        settings,
        routers=[api.router, file_routes.router],
        migrations=MIGRATIONS,
        resources=resources,
        ready=ready,
        read_posts=rf"{_STORE}/(search|search/batch|passages/get|audit)",
        streamed=lambda path: re.fullmatch(rf"{_STORE}/passages", path) is not None,
    )


def _of_a_search(settings: RetrieverSettings) -> dict[str, str]:
    """What its connection is set to."""
    milliseconds = math.ceil(1_000 * settings.max_search_seconds)
    return candidates.breadth(settings.ef_search) | {"statement_timeout": str(milliseconds)}


def _line(settings: RetrieverSettings, metrics: LineMetrics) -> Line:
    return Line(
        settings.max_concurrent_searches,
        length=settings.max_waiting_searches,
        patience=settings.max_wait_seconds,
        metrics=metrics,
        full=RateLimited,
    )


def __getattr__(name: str) -> Any:
    """Build ``app`` when the server asks for it, so that importing this module does no work."""
    if name == "app":
        return create_app()
    raise AttributeError(name)
