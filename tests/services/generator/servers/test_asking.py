import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from prometheus_client import CollectorRegistry

from services.common.errors import FineproofError
from services.generator.metrics import GeneratorMetrics
from services.generator.servers.asking import Server, Timeouts
from services.generator.servers.health import Health
from services.generator.servers.transport import Client


class OneBlockThenSilence(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"data: {}\n\n"
        await asyncio.Event().wait()


def test_a_stream_at_its_last_moment_is_late_as_a_whole_though_the_timer_rings_early() -> None:
    async def code() -> str:
        # Timers ring when their moment is nearer than this.
        asyncio.get_running_loop()._clock_resolution = 0.05  # type: ignore[attr-defined]
        respond = httpx.MockTransport(lambda _: httpx.Response(200, stream=OneBlockThenSilence()))
        async with Client(respond) as http:
            server = Server(
                http,
                "vllm",
                Timeouts(connect=1, first_token=1, token=120, total=0.2),
                Health(failures=2, rest=5),
                GeneratorMetrics(CollectorRegistry()),
            )
            request = http.build_request("POST", "http://vllm/", json={"stream": True})
            async with server.ask(request, lambda *_: FineproofError("refused")) as answer:
                with pytest.raises(FineproofError) as late:
                    async for _ in answer.blocks():
                        pass
        return late.value.code

    assert asyncio.run(code()) == "model_server_timeout"
