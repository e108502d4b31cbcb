"""Answers that end when their reader leaves."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

import structlog
from fastapi import Request
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.common.errors import FineproofError
from services.generator.servers.relay import Relay

_LAST_WORDS = 5  # seconds for a reader to take in that time is up

log = structlog.get_logger(__name__)

T = TypeVar("T")


class CallerLeft(FineproofError):
    """Nobody reads this; the status is what the access log says."""

    status, type, code = 499, "invalid_request_error", "caller_left"


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, which is cancelled when the caller disconnects.

    The request's body must have been read. Cancelling reaches vLLM, which stops generating.
    """
    working = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_disconnect(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise CallerLeft("The caller disconnected.")
        return working.result()
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


class EventStream(StreamingResponse):
    """Server-sent events out of a relay, which is closed whatever happens."""

    def __init__(self, relay: Relay, events: AsyncIterator[bytes]) -> None:
        super().__init__(
            events,
            media_type="text/event-stream",
            # nginx and its like would otherwise hold events back.
            headers={
                "Cache-Control": "no-cache",
                "X-Accel-Buffering": "no",
                **relay.served.headers,
            },
        )
        self._relay = relay

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A reader who stops reading would hold the answer's place for ever.
        async with self._relay:
            try:
                async with asyncio.timeout_at(self._relay.deadline + _LAST_WORDS):
                    await super().__call__(scope, receive, send)
            except TimeoutError:
                log.warning("reader_too_slow")
