"""httpx's client over aiohttp's connections.

A generator relays every token of every answer. httpx's own connections go through their whole pool
at each request and parse answers in Python: with 200 answers under way they took two and a half
times the processor time. The package httpx-aiohttp was looked at (0.2.0, 2026-11): it calls a
connection that was reset one that timed out.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Self

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver
from yarl import URL


class Client(httpx.AsyncClient):
    """httpx's client, told nothing by the environment, and a shorter way for ready requests."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        super().__init__(transport=transport, trust_env=False)
        self._straight = transport

    async def begin(self, request: httpx.Request) -> httpx.Response:
        """Send a request as it is, and give the answer unread: without cookies, redirects, hooks,
        and the time they take."""
        return await self._straight.handle_async_request(request)


class AiohttpTransport(httpx.AsyncBaseTransport):
    """At most ``connections`` at once; idle ones are closed after ``idle`` seconds."""

    def __init__(
        self, *, connections: int, idle: float, resolver: AbstractResolver | None = None
    ) -> None:
        self._connections = connections
        self._resolver = resolver
        self._idle = idle

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=self._connections,
                keepalive_timeout=self._idle,
                ttl_dns_cache=30,
                resolver=self._resolver,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def aclose(self) -> None:
        await self._session.close()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        timeout = request.extensions["timeout"]
        with _as_httpx():
            response = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers.multi_items(),
                data=await request.aread() or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    connect=timeout["pool"],
                    sock_connect=timeout["connect"],
                    sock_read=timeout["read"],
                ),
            )
        return httpx.Response(
            response.status,
            headers=list(response.raw_headers),
            stream=_Stream(response),
            request=request,
        )


class _Stream(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        content = self._response.content
        with _as_httpx():
            try:
                async for block in content.iter_any():
                    yield block
            except aiohttp.ClientPayloadError:
                # What came before the break, aiohttp keeps to itself.
                if came := b"".join(content._buffer):
                    yield came
                raise

    async def aclose(self) -> None:
        self._response.close()  # the connection too, unless the answer was read to its end


@contextmanager
def _as_httpx() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error)) from error
    except aiohttp.ClientError as error:
        raise httpx.RemoteProtocolError(str(error)) from error
