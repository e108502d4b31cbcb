"""How every service is put together: the same doors, locks and lights."""

import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import anyio.to_thread
import structlog
from fastapi import APIRouter, Depends, FastAPI, Request
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.auth import KeyAuth
from services.common.db import Database, migrate
from services.common.errors import TooLarge, Unavailable, add_handlers, render
from services.common.hosts import LoopbackOnly
from services.common.settings import ServiceSettings
from services.common.telemetry import Metrics, Telemetry, configure_logging

log = structlog.get_logger(__name__)

Resources = Callable[[FastAPI], AbstractAsyncContextManager[None]]
Check = Callable[[FastAPI], None]


def get_session(request: Request) -> Iterator[Session]:
    with request.app.state.db.transaction() as session:
        yield session


# scope="function" commits before the response starts: a failed commit is an error the caller sees.
SessionDep = Annotated[Session, Depends(get_session, scope="function")]


def get_caller(request: Request) -> str:
    """The name of the key that was shown; ``local`` where none is needed."""
    return str(getattr(request.state, "caller", "local"))


CallerDep = Annotated[str, Depends(get_caller)]


class BodyLimit:
    """ASGI middleware: 413 for a body over the limit, except where ``streamed`` says it streams."""

    def __init__(self, app: ASGIApp, *, limit: int, streamed: Callable[[str], bool]) -> None:
        self.app = app
        self.limit = limit
        self.streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self.streamed(scope["path"]):
            await self.app(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self.limit:
                refusal = self._refusal()
                # FastAPI takes any other exception for a body that cannot be parsed.
                raise HTTPException(refusal.status, refusal.message)
            return message

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.limit:
            await render(self._refusal())(scope, receive, send)
            return
        await self.app(scope, counted, send)

    def _refusal(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self.limit} bytes; send less at once.")


def create_service(
    name: str,
    settings: ServiceSettings,
    *,
    routers: Sequence[APIRouter],
    migrations: Path,
    resources: Resources,
    ready: Check | None = None,
    needs_database: bool = True,
    read_posts: str | None = None,
    streamed: Callable[[str], bool] = lambda _: False,
) -> FastAPI:
    """Build one service's application.

    ``resources`` opens what the service needs beyond the database and puts it on ``app.state``;
    ``ready`` raises while the service cannot serve, and so does a database that is away where it
    ``needs_database`` for what it is there for; ``read_posts`` is a pattern of POST paths that
    change nothing; ``streamed`` tells paths whose bodies are read as a stream, without a limit.
    """
    configure_logging(name, settings.log_level)
    metrics = Metrics(name)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await anyio.to_thread.run_sync(
            lambda: migrate(settings.database_url, schema=name, migrations=migrations)
        )
        app.state.settings = settings
        app.state.metrics = metrics
        app.state.db = Database(settings.database_url, pool_size=settings.database_pool_size)
        try:
            async with resources(app):
                _collect_seldom()
                log.info("started", mode=settings.mode)
                yield
        finally:
            app.state.db.close()

    app = FastAPI(
        title=f"fineproof {name}",
        version=version("fineproof"),
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
    )
    for router in routers:
        app.include_router(router)
    app.add_route("/metrics", metrics.endpoint)

    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "service": name}

    @app.get("/readyz", include_in_schema=False)
    def readyz(request: Request) -> JSONResponse:
        if needs_database:
            request.app.state.db.ping()
        if ready is not None:
            ready(request.app)
        return JSONResponse({"status": "ready", "service": name})

    add_handlers(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes, streamed=streamed)
    if settings.mode == "production":
        app.add_middleware(KeyAuth, keys=settings.api_keys, read_posts=read_posts)
    else:
        app.add_middleware(LoopbackOnly)
    app.add_middleware(Telemetry, metrics=metrics)
    return app


def _collect_seldom() -> None:
    """Every 10,000 objects for every 700: requests under way have hundreds each, which Python's
    garbage collector looked through again and again (docs/performance.md)."""
    gc.set_threshold(10_000, *gc.get_threshold()[1:])


def not_ready(message: str) -> Unavailable:
    return Unavailable(message, code="not_ready", headers={"Retry-After": "2"})
