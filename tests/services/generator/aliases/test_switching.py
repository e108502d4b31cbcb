"""An alias switched back and forth while two hundred callers ask by it."""

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from services.common.ids import new_id
from services.generator.servers.transport import AiohttpTransport
from tests.services.generator.aliases.test_aliases import LIVE, ONE, TWO, point
from tests.services.generator.aliases.test_aliases import adapters as adapters
from tests.services.generator.conftest import BASE, StartGenerator, VllmServer, held
from tests.services.generator.registry import Registry
from tests.services.generator.upstream import Upstream

CALLERS, SWITCHES = 200, 3
MESSAGES = [{"role": "user", "content": "Hi"}]
FRANCE: Any = [{"role": "user", "content": "What is the capital of France?"}]


@dataclass
class Load:
    """Callers who ask without a pause. ``standing`` is what the alias stands for, null while it is
    being switched; ``switches`` counts its beginnings."""

    http: httpx.AsyncClient
    standing: str | None = None
    switches: int = 0
    over: bool = False
    answered: int = 0
    settled: int = 0
    progress: asyncio.Event = field(default_factory=asyncio.Event)
    faults: list[str] = field(default_factory=list)
    by: set[str] = field(default_factory=set)

    async def call(self, stream: bool) -> None:
        while not self.over:
            before = (self.switches, self.standing)
            try:
                model = await self.ask(stream)
            except Exception as error:
                self.faults.append(repr(error))
                return
            finally:
                self.progress.set()
            self.answered += 1
            self.by.add(model)
            if before == (self.switches, self.standing) and self.standing is not None:
                self.settled += 1
                if model != self.standing:
                    self.faults.append(f"{model} answered when {self.standing} should")

    async def answers(self, more: int) -> None:
        """Wait until as many more were answered, or one was not."""
        enough = self.answered + more
        while self.answered < enough and not self.faults:
            self.progress.clear()
            await self.progress.wait()

    async def ask(self, stream: bool) -> str:
        body = {"model": LIVE, "messages": MESSAGES, "stream": stream}
        response = await self.http.post("/v1/chat/completions", json=body)
        assert response.status_code == 200, response.text
        if not stream:
            answer = response.json()
            assert answer["choices"][0]["message"]["content"] == "Hello there."
            return str(answer["model"])
        *events, done, rest = response.text.split("\n\n")
        assert (done, rest) == ("data: [DONE]", ""), response.text
        chunks = [json.loads(event.removeprefix("data: ")) for event in events]
        said = [choice["delta"]["content"] for chunk in chunks for choice in chunk["choices"]]
        assert "".join(said) == "Hello there."
        return str(chunks[0]["model"])

    async def switch(self, adapter: str) -> None:
        self.switches, self.standing = self.switches + 1, None
        body = {"name": LIVE, "adapter": adapter}
        response = await self.http.post("/v1/adapters/aliases", json=body)
        assert response.status_code == 200, response.text
        self.standing = adapter
        assert await self.ask(stream=False) == adapter


async def test_a_switch_under_load_fails_no_request_and_is_heeded_once_it_returns(
    start_generator: StartGenerator,
    upstream: Upstream,
    registry: Registry,
    adapters: dict[str, str],
) -> None:
    url = start_generator(upstream.url, trainer_url=registry.url)
    transport = AiohttpTransport(connections=CALLERS + 8, idle=2)
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=120) as http:
        load = Load(http)
        await load.switch(ONE)
        callers = [asyncio.create_task(load.call(n % 2 == 0)) for n in range(CALLERS)]
        for number in range(SWITCHES):
            await load.answers(CALLERS // 2)
            await load.switch((TWO, ONE)[number % 2])
        await load.answers(CALLERS // 2)
        load.over = True
        await asyncio.gather(*callers)
    assert load.faults == []
    assert load.by == {ONE, TWO}
    assert load.settled > 0
    assert set(upstream.adapters) == {ONE, TWO}, "neither was taken away from anyone"
    asked_for = {json.loads(body)["model"] for body in upstream.bodies}
    assert LIVE not in asked_for


@pytest.mark.e2e
def test_an_alias_is_switched_in_mid_stream(
    real_generator: str,
    vllm_server: VllmServer,
    registry: Registry,
    adapter_folder: Path,
    adapter: str,
) -> None:
    client = openai.OpenAI(base_url=f"{real_generator}/v1", api_key="none", max_retries=0)
    other = f"ft:{BASE}:demo:{new_id('ftjob')}"
    registry.add(other, adapter_folder, base_model=BASE)
    alias = f"ft:{BASE}:{new_id('live')}"
    assert point(real_generator, alias, adapter).status_code == 200
    stream = client.chat.completions.create(
        model=alias, messages=FRANCE, max_tokens=48, temperature=0, stream=True
    )
    chunks = [next(stream)]
    assert point(real_generator, alias, other).status_code == 200
    assert {adapter, other} <= held(vllm_server)
    chunks += stream
    assert {chunk.model for chunk in chunks} == {adapter}
    assert chunks[-1].choices[0].finish_reason in ("stop", "length")
    ask: Any = {"messages": FRANCE, "max_tokens": 8, "temperature": 0, "logprobs": True}
    by_alias = client.chat.completions.create(model=alias, **ask)
    by_name = client.chat.completions.create(model=other, **ask)
    by_base = client.chat.completions.create(model=BASE, **ask)
    assert by_alias.model == other
    # Not to the bit: the second to ask finds a part of the prompt in the cache.
    assert told(by_alias) == pytest.approx(told(by_name), abs=1e-3)
    assert told(by_alias) != pytest.approx(told(by_base), abs=1e-2)


def told(answer: openai.types.chat.ChatCompletion) -> dict[str, float]:
    """The log-probability of each token, by its place and text."""
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content is not None
    return {f"{n} {one.token}": one.logprob for n, one in enumerate(logprobs.content)}
