"""A client that costs little beside what it measures: aiohttp, and nothing parsed it need not."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

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
        headers = {"Content-Type": "application/json"}
        started = time.perf_counter()
        first, events, last = 0.0, 0, b""
        async with self._session.post(self.url + _CHAT, data=data, headers=headers) as answer:
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

    async def at_once(self, bodies: Sequence[dict[str, Any]], width: int) -> float:
        """Stream them all, ``width`` at a time; gives the seconds that took."""
        waiting = iter(bodies)

        async def worker() -> None:
            for body in waiting:
                await self.stream(body)

        started = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(width)))
        return time.perf_counter() - started
