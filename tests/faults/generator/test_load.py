"""Many callers at once, and callers who do not read."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import aiohttp
import httpx
import pytest

from tests.faults.generator.conftest import Alone
from tests.services.generator.conftest import BASE
from tests.services.generator.upstream import Upstream

CHAT = "/v1/chat/completions"
STREAM = {"model": BASE, "messages": [{"role": "user", "content": "Hi"}], "stream": True}
MANY = 500
MIB = 2**20


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=300)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield session


async def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    """``holds()`` is true, looked at now and then; whoever serves it lives elsewhere."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - in another thread or process
            await asyncio.sleep(0.05)


async def test_500_streams_at_once_all_end_and_one_more_is_told_to_come_back(
    alone: Alone, upstream: Upstream, session: aiohttp.ClientSession
) -> None:
    before = alone.memory
    upstream.hold.clear()
    async with AsyncExitStack() as open_streams:
        asked = (session.post(alone.url + CHAT, json=STREAM) for _ in range(MANY))
        streams = await asyncio.gather(*(open_streams.enter_async_context(each) for each in asked))
        assert {stream.status for stream in streams} == {200}
        await until(lambda: upstream.streaming == MANY)
        async with session.post(alone.url + CHAT, json=STREAM) as refused:
            assert refused.status == 503
            assert (await refused.json())["error"]["code"] == "overloaded"
            assert refused.headers["Retry-After"]
        assert alone.memory - before < 200 * MIB
        async with session.get(f"{alone.url}/readyz") as ready:
            assert ready.status == 200
        upstream.hold.set()
        answers = await asyncio.gather(*(stream.read() for stream in streams))
        assert all(answer.endswith(b"data: [DONE]\n\n") for answer in answers)
    # Nothing is left behind: every place is free again, and no connection is held.
    async with session.post(alone.url + CHAT, json=STREAM) as again:
        assert again.status == 200
        await again.read()
    await session.close()
    await until(lambda: alone.connections <= 2)


async def test_500_callers_who_leave_free_their_places_and_end_their_generations(
    alone: Alone, upstream: Upstream, session: aiohttp.ClientSession
) -> None:
    upstream.hold.clear()
    async with AsyncExitStack() as open_streams:
        asked = (session.post(alone.url + CHAT, json=STREAM) for _ in range(MANY))
        await asyncio.gather(*(open_streams.enter_async_context(each) for each in asked))
        await until(lambda: upstream.streaming == MANY)
    await until(lambda: upstream.streaming == 0)
    assert upstream.left == MANY
    upstream.hold.set()
    async with session.post(alone.url + CHAT, json=STREAM) as again:
        assert again.status == 200


async def test_a_slow_reader_holds_back_his_own_stream_and_nothing_else(
    alone: Alone, upstream: Upstream, session: aiohttp.ClientSession
) -> None:
    """He is sent 64 MiB, reads the beginning, and then nothing for a while."""
    before = alone.memory
    upstream.fault = "flood"
    async with session.post(alone.url + CHAT, json=STREAM) as slow:
        came = len(await slow.content.readany())
        sent = -1
        while sent != upstream.sent:  # until vLLM, too, is kept waiting
            sent = upstream.sent
            await asyncio.sleep(0.5)
        assert 0 < sent < 32 * MIB
        assert alone.memory - before < 32 * MIB
        upstream.fault = None
        async with httpx.AsyncClient() as other:
            for stream in (True, False):
                answer = await other.post(alone.url + CHAT, json={**STREAM, "stream": stream})
                assert b"Hello" in answer.content
        last = b""
        while block := await slow.content.readany():
            came += len(block)
            last = block
        assert last.endswith(b"data: [DONE]\n\n")
        assert came > 64 * MIB
    assert alone.memory - before < 32 * MIB
