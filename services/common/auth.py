"""Keys and scopes, checked before anything else looks at a request."""

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence

import structlog
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.errors import FineproofError, PermissionDenied, Unauthenticated, render
from services.common.settings import ApiKey

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class KeyAuth:
    """ASGI middleware: 401 without a known key, 403 without the scope the request needs.

    A request needs ``read`` when it changes nothing: a safe method, or a POST whose path matches
    ``read_posts`` (asking and searching are POSTs too). Everything else needs ``write``. The key
    comes as ``Authorization: Bearer KEY``, or as the password of HTTP Basic (RFC 7617) so that a
    browser can ask a person for it.
    """

    def __init__(self, app: ASGIApp, *, keys: Sequence[ApiKey], read_posts: str | None) -> None:
        self.app = app
        self.keys = tuple((bytes.fromhex(key.sha256), key) for key in keys)
        self.read_posts = re.compile(read_posts) if read_posts else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self.app(scope, receive, send)
            return
        try:
            caller = self._authorize(Request(scope))
        except FineproofError as refusal:
            await render(refusal)(scope, receive, send)
            return
        structlog.contextvars.bind_contextvars(caller=caller)
        scope.setdefault("state", {})["caller"] = caller
        await self.app(scope, receive, send)

    def _authorize(self, request: Request) -> str:
        presented = _presented_key(request.headers.get("authorization", ""))
        if presented is None:
            raise Unauthenticated(
                "This path needs a key: send 'Authorization: Bearer KEY'.",
                code="missing_api_key",
                headers={"WWW-Authenticate": 'Basic realm="fineproof", charset="UTF-8"'},
            )
        digest = hashlib.sha256(presented.encode("utf-8", "surrogateescape")).digest()
        # Every key is compared, so that the time taken says nothing about which one was near.
        matches = [key for known, key in self.keys if hmac.compare_digest(known, digest)]
        if not matches:
            raise Unauthenticated("The key is not known here.")
        needed = "read" if self._reads(request) else "write"
        if needed not in matches[0].scopes:
            raise PermissionDenied(f"The key lacks the scope '{needed}'.")
        return matches[0].name

    def _reads(self, request: Request) -> bool:
        if request.method in READ_METHODS:
            return True
        return bool(
            request.method == "POST"
            and self.read_posts
            and self.read_posts.fullmatch(request.url.path)
        )


def _presented_key(header: str) -> str | None:
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "bearer" and value:
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2] or None
        except ValueError:  # not base64, not even ASCII, or no text
            return None
    return None
