"""What the four clients share: keys, request ids, retries and errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_random_exponential

from services.common.errors import (
    FineproofError,
    RateLimited,
    Unavailable,
    UpstreamTimeout,
    error_for_status,
)
from services.common.telemetry import current_request_id

# Answers may take minutes on a CPU; connecting may not.
TIMEOUT = httpx.Timeout(600, connect=5, pool=60)
CONNECTIONS = 64
# Seconds; uvicorn closes idle connections after 5 where nobody says otherwise, and a request that
# meets one closing may not be sent again.
IDLE = 2.0


class PeerClient:
    """A service reached over HTTP.

    Takes the ``httpx.AsyncClient`` it speaks through, so that a test can hand in a transport bound
    to the real application. Requests that are safe to repeat are tried ``attempts`` times when the
    peer cannot be reached or says 429 or 503; others once.
    """

    service = "peer"

    def __init__(self, http: httpx.AsyncClient, *, attempts: int = 3) -> None:
        self.http = http
        self.attempts = attempts

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, url: str, key: str | None = None, *, connections: int = CONNECTIONS
    ) -> AsyncIterator[Self]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Limits(
            max_connections=connections,
            max_keepalive_connections=connections // 4,
            keepalive_expiry=IDLE,
        )
        async with httpx.AsyncClient(
            base_url=url, headers=headers, timeout=TIMEOUT, limits=limits
        ) as http:
            yield cls(http)

    async def _call(
        self, method: str, path: str, *, safe: bool | None = None, **request: Any
    ) -> httpx.Response:
        attempts = self.attempts if (method == "GET" if safe is None else safe) else 1
        async for attempt in AsyncRetrying(
            stop=stop_after_attempt(attempts),
            wait=wait_random_exponential(multiplier=0.2, max=2),
            retry=retry_if_exception_type((RateLimited, Unavailable)),
            reraise=True,
        ):
            with attempt:
                return await self._once(method, path, **request)
        raise AssertionError("unreachable: tenacity reraises")

    async def _once(self, method: str, path: str, **request: Any) -> httpx.Response:
        headers = dict(request.pop("headers", {}))
        if (request_id := current_request_id()) is not None:
            headers.setdefault("X-Request-ID", request_id)
        try:
            response = await self.http.request(method, path, headers=headers, **request)
        except httpx.TimeoutException as error:
            raise UpstreamTimeout(f"The {self.service} did not answer in time.") from error
        except httpx.TransportError as error:
            raise self._away(error) from error
        if response.is_error:
            raise as_error(response, self.service)
        return response

    @asynccontextmanager
    async def _stream(
        self, method: str, path: str, **request: Any
    ) -> AsyncIterator[httpx.Response]:
        try:
            async with self.http.stream(method, path, **request) as response:
                if response.is_error:
                    await response.aread()
                    raise as_error(response, self.service)
                yield response
        except httpx.TimeoutException as error:
            raise UpstreamTimeout(f"The {self.service} did not answer in time.") from error
        except httpx.TransportError as error:
            raise self._away(error) from error

    def _away(self, error: httpx.TransportError) -> Unavailable:
        return Unavailable(
            f"The {self.service} cannot be reached ({type(error).__name__}).",
            headers={"Retry-After": "2"},
        )


def as_error(response: httpx.Response, service: str) -> FineproofError:
    """The typed error inside a peer's envelope; what is not an envelope is quoted."""
    later = response.headers.get("retry-after")
    try:
        body = response.json()["error"]
        return error_for_status(
            response.status_code,
            str(body["message"]),
            code=body.get("code"),
            param=body.get("param"),
            headers={"Retry-After": later} if later else None,
        )
    except (ValueError, KeyError, TypeError):
        return error_for_status(
            response.status_code,
            f"The {service} answered {response.status_code}: {response.text[:200]}",
        )


async def lines_of(blocks: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Lines of JSON: a line separator of Unicode's may stand inside of one, and ends none."""
    rest = bytearray()
    async for block in blocks:
        rest += block
        if b"\n" in block:
            *whole, last = rest.split(b"\n")
            for line in whole:
                yield line.decode(errors="replace")
            rest = bytearray(last)
    if rest:
        yield rest.decode(errors="replace")
