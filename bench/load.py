"""A client that costs little beside what it measures: aiohttp, and nothing parsed it need not."""

import asyncio
import json
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

_JSON = {"Content-Type": "application/json"}
_CHAT = "/v1/chat/completions"


@dataclass(frozen=True)
class Streamed:
    """Seconds from the request's first byte to the first event, and to the last; events counted."""

    first: float
    total: float
    events: int


class Client:
    """``url`` speaks chat completions: vLLM itself, or what stands before it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def stream(self, body: dict[str, Any]) -> Streamed:
        data = json.dumps({**body, "stream": True}).encode()
        started = time.perf_counter()
        first, events, last = 0.0, 0, b""
        async with self._session.post(self.url + _CHAT, data=data, headers=_JSON) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{self.url}: {answer.status} {await answer.text()}")
            async for block in answer.content.iter_any():
                if not events:
                    first = time.perf_counter() - started
                events += block.count(b"data: {")
                last = block
        if b"[DONE]" not in last or b'"error"' in last:
            raise RuntimeError(f"{self.url}: the stream ended with {last[-300:]!r}")
        return Streamed(first, time.perf_counter() - started, events)

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        """POST ``body``; the answer's JSON."""
        async with self._session.post(self.url + path, json=body) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{self.url}{path}: {answer.status} {await answer.text()}")
            return await answer.json()

    async def send(self, path: str, data: bytes | AsyncIterable[bytes]) -> bytes:
        """POST what is JSON already; the answer as it came."""
        async with self._session.post(self.url + path, data=data, headers=_JSON) as answer:
            if answer.status >= 300:
                raise RuntimeError(f"{self.url}{path}: {answer.status} {await answer.text()}")
            return await answer.read()

    async def get(self, path: str) -> Any:
        async with self._session.get(self.url + path) as answer:
            return await answer.json()

    async def delete(self, path: str) -> None:
        async with self._session.delete(self.url + path) as answer:
            answer.raise_for_status()

    async def at_once(self, bodies: Sequence[dict[str, Any]], width: int) -> float:
        """Stream them all, ``width`` at a time; gives the seconds that took."""
        waiting = iter(bodies)

        async def worker() -> None:
            for body in waiting:
                await self.stream(body)

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(width)))
        return time.perf_counter() - started


async def timed(
    calls: Iterable[Callable[[], Awaitable[object]]], width: int
) -> tuple[float, list[float]]:
    """Make the calls, ``width`` at a time; the seconds of all together, and of each."""
    waiting, each = iter(calls), list[float]()

    async def worker() -> None:
        for call in waiting:
            began = time.perf_counter()
            await call()
            each.append(time.perf_counter() - began)

    started = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(width)))
    return time.perf_counter() - started, each
