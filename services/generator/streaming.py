"""Answers that end when their reader leaves."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
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
    try:
        async with asyncio.timeout(None) as time, _ended_by_leaving(request.receive, time):
            return await work
    except TimeoutError as error:
        if not time.expired():
            raise
        raise CallerLeft("The caller disconnected.") from error


@asynccontextmanager
async def _ended_by_leaving(receive: Receive, time: asyncio.Timeout) -> AsyncIterator[None]:
    """``time`` is up when the caller disconnects: no other task need do the work."""
    loop = asyncio.get_running_loop()

    async def leave() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        time.reschedule(loop.time())

    leaving = loop.create_task(leave())
    try:
        yield
    finally:
        leaving.cancel()


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

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        # A reader who stops reading would hold the answer's place for ever.
        until = self._relay.deadline + _LAST_WORDS
        async with self._relay:
            try:
                async with asyncio.timeout_at(until) as time, _ended_by_leaving(receive, time):
                    await self.stream_response(send)
            except TimeoutError:
                if asyncio.get_running_loop().time() >= until:
                    log.warning("reader_too_slow")
