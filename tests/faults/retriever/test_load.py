"""Ten thousand searches at once: those there is room for are answered, all others told so."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.client import parse_headers
from io import BytesIO
from typing import NamedTuple

import httpx

from services.common.db import Database
from tests.faults.retriever.conftest import CALLERS, PLACES, WAITING, Alone
from tests.faults.retriever.locks import locked

MIB = 2**20
STORES = "/v1/vector_stores"


class Answer(NamedTuple):
    status: int
    retry_after: str | None
    body: bytes


class Caller:
    """A connection of its own, opened before anything is asked."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, path: str, body: bytes) -> Answer:
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._writer.write((head + length).encode() + body)
        said = await self._reader.read()
        self._writer.close()
        line, _, rest = said.partition(b"\r\n")
        headers, _, content = rest.partition(b"\r\n\r\n")
        read = parse_headers(BytesIO(headers + b"\r\n\r\n"))
        return Answer(int(line.split()[1]), read["Retry-After"], content)


def client(alone: Alone) -> httpx.AsyncClient:
    """Keeps no connection: uvicorn closes idle ones while a test opens its thousands."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=alone.url, timeout=120, limits=limits)


async def callers(port: int, count: int) -> list[Caller]:
    some = asyncio.Semaphore(500)  # what the server's backlog holds with ease

    async def connect() -> Caller:
        async with some:
            return Caller(*await asyncio.open_connection("127.0.0.1", port))

    return await asyncio.gather(*(connect() for _ in range(count)))


@asynccontextmanager
async def looked_after(alone: Alone) -> AsyncIterator[list[int]]:
    """Both health paths, asked again and again for as long as the context lasts: their answers."""
    seen: list[int] = []

    async def look() -> None:
        async with client(alone) as http:
            while True:
                seen.append((await http.get("/healthz")).status_code)
                seen.append((await http.get("/readyz")).status_code)
                await asyncio.sleep(0.1)

    looking = asyncio.create_task(look())
    yield seen
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
    assert looking.cancelled(), looking.exception()


async def test_10_000_searches_at_once_are_answered_or_told_to_come_back(alone: Alone) -> None:
    db = Database(alone.database_url, pool_size=1)
    async with client(alone) as http:
        store_id = (await http.post(STORES, json={})).json()["id"]
        path = f"{STORES}/{store_id}/search"
        ask = {"query": "Where is it?"}
        body = json.dumps(ask).encode()
        assert (await http.post(path, json=ask)).status_code == 200
        before = alone.memory
        every = await callers(alone.port, CALLERS)
        async with looked_after(alone) as health:
            # No search under way ends: all 10,000 are here at the same time.
            with locked(db, "passage_vectors"):
                asking = [asyncio.create_task(each.ask(path, body)) for each in every]
                refused = 0
                while refused < CALLERS - PLACES - WAITING:
                    refused = sum(task.done() for task in asking)
                    await asyncio.sleep(0.05)
                peak = alone.memory
                # What is no search goes on beside them: it has threads and connections of its own.
                for _ in range(20):
                    assert (await http.post(STORES, json={"name": "other"})).status_code == 200
                    assert (await http.get(f"{STORES}/{store_id}")).status_code == 200
            answers = await asyncio.gather(*asking)
            assert (await http.post(path, json=ask)).status_code == 200
    statuses = [answer.status for answer in answers]
    assert (statuses.count(200), statuses.count(429)) == (PLACES + WAITING, refused)
    assert refused == CALLERS - PLACES - WAITING
    for answer in answers:
        if answer.status == 429:
            assert int(answer.retry_after or 0) >= 1
            assert json.loads(answer.body)["error"]["type"] == "rate_limit_error"
    assert set(health) == {200}
    assert len(health) > 4
    assert peak - before < 512 * MIB
    db.close()


async def test_10_000_searches_at_once_of_a_service_at_work_end(alone: Alone) -> None:
    async with client(alone) as http:
        store_id = (await http.post(STORES, json={})).json()["id"]
        line = b'{"id": "a", "text": "The saw is blunt."}'
        every = await callers(alone.port, CALLERS)
        path = f"{STORES}/{store_id}/search"
        ask = {"query": "Is the saw sharp?", "mode": "text"}
        body = json.dumps(ask).encode()
        async with looked_after(alone) as health:
            asking = [asyncio.create_task(each.ask(path, body)) for each in every]
            sent = await http.post(f"{STORES}/{store_id}/passages", content=line)
            answers = await asyncio.gather(*asking)
        assert sent.status_code == 202
        assert {answer.status for answer in answers} <= {200, 429, 503}
        assert all(answer.retry_after for answer in answers if answer.status != 200)
        assert sum(answer.status == 200 for answer in answers) >= PLACES + WAITING
        assert set(health) == {200}
        assert (await http.post(path, json=ask)).status_code == 200
