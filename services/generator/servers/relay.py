"""An answer of vLLM on its way to a caller, unread and unchanged."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import anyio
import structlog
from pydantic_core import from_json

from services.common.errors import FineproofError, UpstreamFailed, envelope
from services.generator.admission.ticket import Ticket
from services.generator.routing import Served
from services.generator.servers.asking import Answer, cut_short

log = structlog.get_logger(__name__)

DONE = b"data: [DONE]\n\n"
DONE_MARK = b"[DONE]"
_TAIL = 64
_END = re.compile(rb"\r?\n\r?\n")
_LONGEST_EVENT = 8 * 2**20
"""In bytes. One with log-probabilities of twenty alternatives has a few thousand."""
_LONGEST_ANSWER = 64 * 2**20
"""In bytes. Ten thousand tokens with log-probabilities of twenty alternatives have 20 million."""


class Relay:
    """vLLM's response with everything that must be let go of when it is over.

    Whoever holds one closes it, also when nothing was read: closing early stops the generation. Its
    ``seat``, the place it holds and its caller's account, is let go of before the last event is
    handed on: who has read that may ask again.
    """

    def __init__(
        self,
        answer: Answer,
        served: Served,
        resources: AsyncExitStack,
        seat: AsyncExitStack,
        ticket: Ticket | None,
    ) -> None:
        self.served = served
        self._answer = answer
        self._resources = resources
        self._seat = seat
        self._ticket = ticket

    @property
    def media_type(self) -> str:
        return self._answer.media_type

    @property
    def streams(self) -> bool:
        return self._answer.streams

    @property
    def deadline(self) -> float:
        """When it must be over, by the loop's clock."""
        return self._answer.deadline

    async def read(self) -> bytes:
        """The whole answer."""
        if not self.media_type.startswith("application/json"):
            raise malformed(f"an answer of type '{self.media_type[:100]}'")
        body = await self._answer.read(_LONGEST_ANSWER)
        if body is None:
            raise malformed(f"an answer of more than {_LONGEST_ANSWER >> 20} MiB")
        try:
            from_json(body)
        except ValueError as error:
            raise malformed("an answer that is not JSON") from error
        self._see(body)
        return body

    async def events(self) -> AsyncIterator[bytes]:
        """Server-sent events as they come, whole ones, their bytes unchanged.

        Where vLLM breaks off or sends what is no JSON, the last event is an error: the status line
        is long gone.
        """
        try:
            async for block in self._whole():
                sound = block[: _sound(block)]
                self._see(sound)
                if DONE_MARK in sound[-_TAIL:]:
                    await self._stand_up()
                if sound:
                    yield sound
                if len(sound) < len(block):
                    raise malformed("an event that is not JSON")
        except FineproofError as error:
            await self._stand_up()
            log.warning("stream_broke", code=error.code)
            yield error_event(error)

    async def data(self) -> AsyncIterator[dict[str, Any]]:
        """The JSON of each event, read; raises where vLLM breaks off or sends something else."""
        async for block in self._whole():
            for line in block.splitlines():
                if not line.startswith(b"data:"):
                    continue
                said = line.removeprefix(b"data:").strip()
                if said == DONE_MARK:
                    await self._stand_up()
                    return
                self._see(line)
                yield _event(said)

    async def _whole(self) -> AsyncIterator[bytes]:
        """Blocks of whole events: a reader can do nothing with half a one, and trips over it.

        Raises where there is no end to an event, or no ``[DONE]`` at the end.
        """
        rest = last = b""
        async for block in self._answer.blocks():
            searched = max(0, len(rest) - 3)
            rest += block
            if end := _end_of_last(rest, searched):
                last = rest[max(0, end - _TAIL) : end]
                yield rest[:end]
                rest = rest[end:]
            elif len(rest) > _LONGEST_EVENT:
                raise malformed("an event without an end")
        if DONE_MARK in rest[-_TAIL:]:
            yield rest + b"\n\n"
        elif DONE_MARK not in last:
            raise cut_short()

    def _see(self, block: bytes) -> None:
        if self._ticket is not None:
            self._ticket.see(block)

    async def _stand_up(self) -> None:
        with anyio.CancelScope(shield=True):
            await self._seat.aclose()

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


def malformed(what: str) -> UpstreamFailed:
    return UpstreamFailed(f"The model server sent {what}.", code="model_server_malformed")


def error_event(error: FineproofError) -> bytes:
    return b"data: " + json.dumps(envelope(error)).encode() + b"\n\n"


def _end_of_last(block: bytes, searched: int) -> int:
    """Where the last whole event ends; 0 where none ends after the bytes that were ``searched``."""
    if block.endswith(b"\n\n"):
        return len(block)
    return max((end.end() for end in _END.finditer(block, searched)), default=0)


def _sound(block: bytes) -> int:
    """Where the first event begins whose data are not JSON, in bytes; else the length."""
    start = 0
    for end in _END.finditer(block):
        for line in block[start : end.start()].splitlines():
            if line.startswith(b"data:") and (said := line[5:].strip()) != DONE_MARK:
                try:
                    json.loads(said)
                except (ValueError, RecursionError):
                    return start
        start = end.end()
    return len(block)


def _event(said: bytes) -> dict[str, Any]:
    try:
        event = json.loads(said)
    except (ValueError, RecursionError) as error:
        raise malformed("an event that is not JSON") from error
    if not isinstance(event, dict):
        raise malformed("an event that is no object")
    if isinstance(said_error := event.get("error"), dict):
        raise UpstreamFailed(str(said_error.get("message")), code="model_server_failed")
    return event
