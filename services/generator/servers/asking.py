"""One request to a model server, each stage of it in time.

::

    connect       until there is a connection                 503 model_server_connect_timeout
    first token   of a stream, until anything was generated   504 first_token_timeout
    token         of a stream, from one piece to the next     504 token_timeout
    total         from asking to the last byte                504 model_server_timeout
"""

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import structlog

from services.common.errors import FineproofError, Unavailable, UpstreamFailed, UpstreamTimeout
from services.generator.metrics import GeneratorMetrics
from services.generator.servers.health import Health
from services.generator.servers.transport import Client

log = structlog.get_logger(__name__)

ErrorOf = Callable[[httpx.Response, bytes], FineproofError]

_STREAMS = re.compile(rb'"stream"\s*:\s*true')
_AWAY = (502, 503, 504)


@dataclass(frozen=True)
class Timeouts:
    """Seconds."""

    connect: float
    first_token: float
    token: float
    total: float

    @property
    def of_transport(self) -> httpx.Timeout:
        """What httpx keeps to; the rest is kept here."""
        return httpx.Timeout(None, connect=self.connect, pool=self.connect)


class ModelServerAway(Unavailable):
    code = "model_server_unavailable"


class Untouched(ModelServerAway):
    """Nothing was generated, for certain: another server may be asked the same."""


class Unconnected(Untouched):
    """It does not even take connections."""


def away(reason: str, *, seconds: float = 2) -> ModelServerAway:
    again = {"Retry-After": str(max(1, math.ceil(seconds)))}
    return ModelServerAway(_unreached(reason), headers=again)


def cut_short() -> UpstreamFailed:
    return UpstreamFailed(
        "The model server's answer broke off before its end.", code="model_server_broke_off"
    )


def transport_error(error: httpx.HTTPError) -> FineproofError:
    """What a failed exchange means to the caller, before the answer has begun."""
    again = {"Retry-After": "2"}
    if isinstance(error, httpx.ConnectTimeout):
        return Unconnected(
            _unreached("it does not take connections in time"),
            code="model_server_connect_timeout",
            headers=again,
        )
    if isinstance(error, httpx.ConnectError):
        return Unconnected(_unreached(type(error).__name__), headers=again)
    if isinstance(error, httpx.TimeoutException):
        return _late()
    return away(type(error).__name__)


def _unreached(reason: str) -> str:
    return f"The model server cannot be reached ({reason}); try again in a moment."


def _late() -> UpstreamTimeout:
    return UpstreamTimeout("The model server did not answer in time.", code="model_server_timeout")


class Server:
    """A model server as far as asking it goes; ``name`` stands in metrics."""

    def __init__(
        self,
        http: Client,
        name: str,
        timeouts: Timeouts,
        health: Health,
        metrics: GeneratorMetrics,
    ) -> None:
        self.http = http
        self.name = name
        self.timeouts = timeouts
        self.health = health
        self.metrics = metrics

    @asynccontextmanager
    async def ask(self, request: httpx.Request, error_of: ErrorOf) -> AsyncIterator["Answer"]:
        """Send a request and hand out the answer unread, once the server has said 200.

        Leaving closes the connection. ``error_of`` reads any other status and its body. Raises
        :class:`Untouched` where it is safe to ask another server.
        """
        self.health.asked()
        answer = Answer(self, _STREAMS.search(request.content) is not None)
        try:
            response = await answer.begin(request)
            try:
                if not response.is_success:
                    raise await self._refused(response, error_of)
                yield answer
            finally:
                await response.aclose()
        finally:
            self.health.left()

    def failed(self, error: FineproofError) -> FineproofError:
        self.health.failed()
        self.metrics.failed(self.name, error.code)
        log.warning("model_server_failed", server=self.name, code=error.code)
        return error

    async def _refused(self, response: httpx.Response, error_of: ErrorOf) -> FineproofError:
        try:
            async with asyncio.timeout(self.timeouts.connect):
                error = error_of(response, await response.aread())
        except (TimeoutError, httpx.HTTPError):
            error = error_of(response, b"")
        if response.status_code not in _AWAY:
            self.health.well()
            return error
        self.failed(error)
        if response.status_code == 503:
            return Untouched(error.message, code=error.code, headers={"Retry-After": "2"})
        return error


class Answer:
    """A model server's answer as it comes in."""

    def __init__(self, server: Server, streams: bool) -> None:
        self._server = server
        self._asked = time.monotonic()
        now = asyncio.get_running_loop().time()
        self.deadline = now + server.timeouts.total
        """By the loop's clock."""
        self._begins_by = now + server.timeouts.first_token if streams else self.deadline
        self._response: httpx.Response

    @property
    def media_type(self) -> str:
        return str(self._response.headers.get("content-type", "application/json"))

    @property
    def streams(self) -> bool:
        return self.media_type.startswith("text/event-stream")

    async def begin(self, request: httpx.Request) -> httpx.Response:
        until = min(self._begins_by, self.deadline)
        try:
            async with asyncio.timeout_at(until):
                self._response = await self._server.http.begin(request)
        except TimeoutError as error:
            raise self._late_to_begin() from error
        except httpx.HTTPError as error:
            raise self._server.failed(transport_error(error)) from error
        return self._response

    async def read(self, most: int) -> bytes | None:
        """The whole of it; None where it is longer than ``most`` bytes."""
        body = bytearray()
        try:
            async with asyncio.timeout_at(self.deadline):
                async for block in self._response.aiter_bytes():
                    body += block
                    if len(body) > most:
                        return None
        except TimeoutError as error:
            raise self._server.failed(_late()) from error
        except httpx.HTTPError as error:
            raise self._server.failed(transport_error(error)) from error
        self._begun()
        return bytes(body)

    async def blocks(self) -> AsyncIterator[bytes]:
        """Its bytes as they come. Raises what breaks it off."""
        coded = "content-encoding" in self._response.headers
        source = self._response.aiter_bytes() if coded else self._response.aiter_raw()
        now = asyncio.get_running_loop().time
        until, begun = self._begins_by, False
        while True:
            try:
                async with asyncio.timeout_at(min(until, self.deadline)):
                    block = await anext(source, None)
            except TimeoutError as error:
                raise self._late(begun, until) from error
            except httpx.HTTPError as error:
                raise self._server.failed(cut_short()) from error
            if block is None:
                return
            if not begun:
                begun = True
                self._begun()
            yield block
            until = now() + self._server.timeouts.token

    def _begun(self) -> None:
        self._server.health.well()
        self._server.metrics.begun(self._server.name, time.monotonic() - self._asked)

    def _late(self, begun: bool, until: float) -> FineproofError:
        if not begun:
            return self._late_to_begin()
        # Not by the clock: the loop may ring a timer up to its clock's resolution too early.
        if until >= self.deadline:
            return self._server.failed(_late())
        seconds = self._server.timeouts.token
        return self._server.failed(
            UpstreamTimeout(
                f"The model server has said nothing more for {seconds:g} s.", code="token_timeout"
            )
        )

    def _late_to_begin(self) -> FineproofError:
        if self._begins_by >= self.deadline:
            return self._server.failed(_late())
        seconds = self._server.timeouts.first_token
        return self._server.failed(
            UpstreamTimeout(
                f"The model server has not begun to answer within {seconds:g} s.",
                code="first_token_timeout",
            )
        )
