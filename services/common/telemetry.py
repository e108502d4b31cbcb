"""Request ids, JSON logs and Prometheus metrics, the same in every service."""

import logging
import re
import sys
import time
from contextlib import suppress

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client import generate_latest as render_metrics
from pydantic_core import to_json
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.ids import new_id

_REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Bounds of the buckets that durations are counted in."""
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


def configure_logging(service: str, level: str) -> None:
    """Send every log line of this process, the libraries' too, to stderr as one JSON object."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )

    def name_service(
        _: object, __: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return {"service": service, **event}

    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                name_service,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "celery"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # ours says more
    # httpx logs every URL at INFO; a URL may name a private host.
    for name in ("httpx", "httpx2"):
        logging.getLogger(name).setLevel(logging.WARNING)


def access_log(service: str) -> structlog.typing.FilteringBoundLogger:
    """Lines like ``configure_logging``'s, at its level, straight to stderr: the standard library's
    records take three times as long, and every request has a line."""
    logger: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(serializer=_in_rust),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLogger().level),
        cache_logger_on_first_use=True,
    )
    return logger.bind(service=service, logger="access")


def _in_rust(event: object, **_: object) -> str:
    return to_json(event).decode()


class Metrics:
    """The HTTP metrics of one application, in a registry of its own."""

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        labels = ["method", "route", "status"]
        self.requests = Counter(
            "fineproof_http_requests_total",
            "Requests answered.",
            labels,
            registry=self.registry,
        )
        self.seconds = Histogram(
            "fineproof_http_request_seconds",
            "Seconds from the request's first byte to the response's last.",
            ["method", "route"],
            registry=self.registry,
            buckets=SECONDS,
        )
        self.service = service

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self.requests.labels(method, route, str(status)).inc()
        self.seconds.labels(method, route).observe(seconds)

    async def endpoint(self, _: Request) -> Response:
        return Response(render_metrics(self.registry), media_type=CONTENT_TYPE_LATEST)


class Telemetry:
    """ASGI middleware: a request id on every response and log line, one access line a request.

    A caller's ``X-Request-ID`` is kept when it is a plain token, so that one id follows a question
    through the services.
    """

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics
        self.log = access_log(metrics.service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        offered = Headers(scope=scope).get("x-request-id", "")
        request_id = offered if _REQUEST_ID.fullmatch(offered) else new_id("req")
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()
        status = 499  # the caller left before an answer began

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            # The route's template, not the path: a metric per id would grow without bound.
            route = getattr(scope.get("route"), "path", "unmatched")
            self.metrics.observe(scope["method"], route, status, seconds)
            if scope["path"] not in _QUIET:
                # As the standard library has it: a log that cannot be written fails no request.
                with suppress(OSError, ValueError):
                    self.log.info(
                        "request",
                        method=scope["method"],
                        path=scope["path"],
                        status=status,
                        ms=round(seconds * 1000, 1),
                    )


def current_request_id() -> str | None:
    """The id of the request being answered, for handing on to a peer."""
    value = structlog.contextvars.get_contextvars().get("request_id")
    return value if isinstance(value, str) else None


def current_caller() -> str:
    """The name of the key that the request being answered has shown; ``local`` without one."""
    return str(structlog.contextvars.get_contextvars().get("caller", "local"))
