"""One origin for every public path: a streaming ASGI proxy driven by ``services.common.routes``.

Own code, because the packages that do this were found wanting (2026-11): asgi-proxy-lib 0.2a0 reads
an upload whole before it sends a byte on; fastapi-proxy-lib 0.3.0 streams both ways, yet does not
notice a client that leaves while the answer is being computed, so a dropped question would keep
the model busy, and it sends decoded paths on (``a%2Fb`` arrives as ``a/b``).
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import anyio
import httpx
import structlog
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from fineproof.settings import Settings
from services.common.errors import InvalidRequest, Unavailable, render
from services.common.hosts import LoopbackOnly
from services.common.routes import ROUTES, service_for

log = structlog.get_logger(__name__)

# RFC 9110, section 7.6.1: meant for the next hop only. `Expect` is answered by our own server.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "expect",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)


class Proxy:
    """Passes each request to the service its path belongs to, as it comes, and the answer back."""

    def __init__(self, client: httpx.AsyncClient, upstreams: Mapping[str, str]) -> None:
        self._client = client
        self._upstreams = upstreams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        uploaded = anyio.Event()
        # The body belongs to the request until it is sent; whoever listens next hears the client
        # leave, and cancels the exchange.
        async with anyio.create_task_group() as exchange:

            async def body() -> AsyncIterator[bytes]:
                async for chunk in Request(scope, receive).stream():
                    yield chunk
                uploaded.set()

            async def watch() -> None:
                await uploaded.wait()
                while (await receive())["type"] != "http.disconnect":
                    pass
                exchange.cancel_scope.cancel()

            headers = Headers(scope=scope)
            has_body = "content-length" in headers or "transfer-encoding" in headers
            if not has_body:
                uploaded.set()
            exchange.start_soon(watch)
            await self._exchange(scope, receive, send, body() if has_body else None)
            exchange.cancel_scope.cancel()

    async def _exchange(
        self, scope: Scope, receive: Receive, send: Send, body: AsyncIterator[bytes] | None
    ) -> None:
        service = service_for(scope["path"])
        try:
            request = self._client.build_request(
                scope["method"],
                self._target(service, scope),
                headers=_request_headers(scope),
                content=body,
            )
        except (httpx.InvalidURL, UnicodeDecodeError):
            refusal = InvalidRequest("The URL is not valid.", code="invalid_url")
            await render(refusal)(scope, receive, send)
            return
        try:
            response = await self._client.send(request, stream=True)
        except ClientDisconnect:
            return
        except httpx.TransportError as error:
            log.warning("upstream_unreachable", service=service, error=repr(error))
            failure = Unavailable(
                f"The {service} does not answer; `fineproof status` tells how it is.",
                headers={"Retry-After": "2"},
            )
            await render(failure)(scope, receive, send)
            return
        try:
            await _relay(response, send)
        finally:
            with anyio.CancelScope(shield=True):  # closes the connection: the service hears of it
                await response.aclose()

    def _target(self, service: str, scope: Scope) -> httpx.URL:
        raw = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        base = httpx.URL(self._upstreams[service])
        return base.copy_with(raw_path=raw + (b"?" + query if query else b""))


def create_app(upstreams: Mapping[str, str] | None = None) -> Starlette:
    """The front door; ``upstreams`` maps a service to its base URL (default: the local stack's)."""
    if upstreams is None:
        settings = Settings.from_environment()
        upstreams = {service: settings.url_of(service) for service in {name for _, name in ROUTES}}

    client = httpx.AsyncClient(
        # An answer may take minutes and an upload hours; only an absent service fails quickly.
        timeout=httpx.Timeout(None, connect=5.0),
        # Idle connections go well before a service would close them under a request.
        limits=httpx.Limits(
            max_connections=None, max_keepalive_connections=64, keepalive_expiry=2.0
        ),
        trust_env=False,  # a proxy in the environment is not for the loopback
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with client:
            yield

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "service": "front-door"})

    return Starlette(
        routes=[Route("/healthz", healthz), Mount("/", app=Proxy(client, upstreams))],
        middleware=[Middleware(LoopbackOnly)],
        lifespan=lifespan,
    )


def _request_headers(scope: Scope) -> list[tuple[bytes, bytes]]:
    client = scope.get("client")
    return [
        *_end_to_end(scope["headers"]),
        (b"x-forwarded-proto", scope["scheme"].encode()),
        (b"x-forwarded-for", (client[0] if client else "unknown").encode()),
    ]


def _end_to_end(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    named = {
        token.strip().lower()
        for name, value in headers
        if name.lower() == b"connection"
        for token in value.decode("latin-1").split(",")
    }
    dropped = _HOP_BY_HOP | named
    return [
        (name, value) for name, value in headers if name.decode("latin-1").lower() not in dropped
    ]


async def _relay(response: httpx.Response, send: Send) -> None:
    """Pass the answer on chunk by chunk, undecoded.

    Raises when the service breaks off, so that the server cuts the connection: half an answer must
    not look like a whole one.
    """
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": _end_to_end([(n.lower(), v) for n, v in response.headers.raw]),
        }
    )
    async for chunk in response.aiter_raw():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
