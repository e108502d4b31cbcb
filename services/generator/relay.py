"""An answer of vLLM on its way to a caller, unread and unchanged."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
import httpx
import structlog

from services.common.errors import FineproofError, UpstreamFailed, envelope
from services.generator.vllm import transport_error

log = structlog.get_logger(__name__)

DONE = b"data: [DONE]\n\n"
_TAIL = 64


class Relay:
    """vLLM's response with everything that must be let go of when it is over.

    Whoever holds one closes it, also when nothing was read: closing early stops the generation.
    """

    def __init__(self, response: httpx.Response, resources: AsyncExitStack) -> None:
        self._response = response
        self._resources = resources

    @property
    def media_type(self) -> str:
        return str(self._response.headers.get("content-type", "application/json"))

    @property
    def streams(self) -> bool:
        return self.media_type.startswith("text/event-stream")

    async def read(self) -> bytes:
        """The whole answer."""
        try:
            return await self._response.aread()
        except httpx.HTTPError as error:
            raise transport_error(error) from error

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events as they come, whole ones, their bytes unchanged.

        Where vLLM breaks off, the last event is an error: the status line is long gone.
        """
        rest = last = b""
        try:
            async for block in self._response.aiter_raw():
                # A reader can do nothing with half an event, and trips over one that never ends.
                whole, end, rest = (rest + block).rpartition(b"\n\n")
                if end:
                    last = whole[-_TAIL:]
                    yield whole + end
        except httpx.HTTPError as error:
            yield _broken(stream_error(error))
            return
        if b"[DONE]" not in (last + rest)[-_TAIL:]:
            yield _broken(cut_short())
        elif rest:
            yield rest

    async def data(self) -> AsyncIterator[dict[str, Any]]:
        """The JSON of each event, read; raises where vLLM breaks off or sends something else."""
        try:
            async for line in self._response.aiter_lines():
                if not line.startswith("data:"):
                    continue
                text = line.removeprefix("data:").strip()
                if text == "[DONE]":
                    return
                yield _event(text)
        except httpx.HTTPError as error:
            raise stream_error(error) from error
        raise cut_short()

    async def aclose(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._resources.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


def cut_short() -> UpstreamFailed:
    return UpstreamFailed(
        "The model server's answer broke off before its end.", code="model_server_broke_off"
    )


def stream_error(error: httpx.HTTPError) -> FineproofError:
    return transport_error(error) if isinstance(error, httpx.TimeoutException) else cut_short()


def error_event(error: FineproofError) -> bytes:
    return b"data: " + json.dumps(envelope(error)).encode() + b"\n\n"


def _broken(error: FineproofError) -> bytes:
    log.warning("stream_broke", code=error.code)
    return error_event(error)


def _event(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except ValueError as error:
        raise UpstreamFailed(
            "The model server sent an event that is not JSON.", code="model_server_malformed"
        ) from error
    if not isinstance(event, dict):
        raise UpstreamFailed(
            "The model server sent an event that is no object.", code="model_server_malformed"
        )
    if isinstance(said := event.get("error"), dict):
        raise UpstreamFailed(str(said.get("message")), code="model_server_failed")
    return event
