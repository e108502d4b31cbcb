"""The names by which services without keys may be called."""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.errors import PermissionDenied, render

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class LoopbackOnly:
    """ASGI middleware: 403 for a request that names another host than the loopback.

    A page on the web whose name was pointed at 127.0.0.1 must not reach what asks for no key (DNS
    rebinding).
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            if host.rsplit(":", 1)[0].lower() not in _LOOPBACK:
                refusal = PermissionDenied(
                    "Without keys this answers only as localhost or 127.0.0.1.", code="foreign_host"
                )
                await render(refusal)(scope, receive, send)
                return
        await self.app(scope, receive, send)
