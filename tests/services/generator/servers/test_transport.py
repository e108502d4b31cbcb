"""What befalls a connection, in httpx's words: the services' errors are made from them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from services.generator.servers.transport import AiohttpTransport
from tests.conftest import free_port

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(talk: Talk) -> AsyncIterator[str]:
    """A server that reads a request's head and then talks as it is told."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = AiohttpTransport(connections=2, idle=3)
    timeout = httpx.Timeout(5, read=0.3)
    async with httpx.AsyncClient(transport=transport, timeout=timeout) as client:
        yield client


async def test_an_answer_comes_with_its_status_headers_and_bytes(client: httpx.AsyncClient) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(4) == b"ask!"
        head = b"HTTP/1.1 418 Teapot\r\nX-One: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        writer.write(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")

    async with answering(talk) as url:
        answer = await client.post(f"{url}/a%2Fb?c=%20", content=b"ask!")
    assert (answer.status_code, answer.headers["x-one"], answer.content) == (418, "1", b"abcde")


async def test_a_connection_is_used_again_unless_its_answer_was_left_unread(
    client: httpx.AsyncClient,
) -> None:
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
            await asyncio.sleep(0.05)
            writer.write(b"ok")
            await reader.readuntil(b"\r\n\r\n")

    async with answering(talk) as url:
        await client.get(url)
        await client.get(url)
        assert connections == 1
        async with client.stream("GET", url):
            pass
        await client.get(url)
        assert connections == 2


async def test_nobody_listening_is_a_failed_connection(client: httpx.AsyncClient) -> None:
    with pytest.raises(httpx.ConnectError):
        await client.post(f"http://127.0.0.1:{free_port()}/")


HEAD = b"HTTP/1.1 200 OK\r\n"
BROKEN = {
    "nothing": b"",
    "not HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "half a body": HEAD + b"Content-Length: 9\r\n\r\nhalf",
    "half a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
    "no chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n",
}


@pytest.mark.parametrize("said", BROKEN.values(), ids=BROKEN)
async def test_an_answer_that_breaks_off_is_no_timeout(
    client: httpx.AsyncClient, said: bytes
) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    async with answering(talk) as url:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(url, content=b"")


async def test_what_came_before_the_break_is_handed_out(client: httpx.AsyncClient) -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(BROKEN["half a body"])
        await writer.drain()

    async with answering(talk) as url, client.stream("GET", url) as answer:
        await asyncio.sleep(0.2)  # it has broken off before anyone reads
        blocks = answer.aiter_raw()
        assert await anext(blocks) == b"half"
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(blocks)


@pytest.mark.parametrize("said", [b"", BROKEN["half a body"]], ids=["at once", "in the middle"])
async def test_silence_is_a_timeout(client: httpx.AsyncClient, said: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()

    async with answering(talk) as url:
        with pytest.raises(httpx.ReadTimeout):
            await client.post(url, content=b"")
