"""Cited answers: retrieve, pack, ask, attribute."""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.generator import RagAnswer, RagAsk, RagTimings, UsedPassage
from services.common.contracts.rag_events import RagDelta, RagEvent, RagPassages, RagUsage
from services.common.contracts.retriever import SearchAsk
from services.common.errors import FineproofError
from services.common.ids import new_id, now
from services.common.prompts import SYSTEM, TEMPLATE_SHA256, render_messages, split_reasoned
from services.generator.rag.chat import CHAT, Said, read, take, unreadable
from services.generator.rag.citations import cited
from services.generator.rag.packing import Messages, Packed, Prompt
from services.generator.rag.reasoning import Kind, Splitter
from services.generator.rag.retrieval import find, number
from services.generator.routing import Route, Served
from services.generator.servers.relay import DONE, Relay, error_event
from services.generator.service import Generator

EVENTS: dict[Kind, Literal["rag.delta", "rag.reasoning.delta", "rag.reset"]] = {
    "answer": "rag.delta",
    "reasoning": "rag.reasoning.delta",
    "reset": "rag.reset",
}


class Clock:
    """Milliseconds that each stage took, one after the other."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self.stages: dict[str, float] = {}

    def lap(self, stage: str) -> None:
        """``stage`` ends now; it began when the one before it ended."""
        now = time.perf_counter()
        self.stages[stage] = _ms(self._last, now)
        self._last = now

    def mark(self, moment: str) -> None:
        """``moment`` is now, within a stage; the first time counts."""
        self.stages.setdefault(moment, _ms(self._last, time.perf_counter()))

    def timings(self) -> RagTimings:
        return RagTimings(**self.stages, total_ms=_ms(self._started, time.perf_counter()))


@dataclass
class Asked:
    """A question with its prompt, on its way to the model."""

    ask: RagAsk
    route: Route
    packed: Packed
    clock: Clock
    id: str = field(default_factory=lambda: new_id("rag"))
    created: int = field(default_factory=now)


class Rag:
    def __init__(self, generator: Generator, retriever: RetrieverClient) -> None:
        self._generator = generator
        self._retriever = retriever

    async def answer(self, ask: RagAsk) -> RagAnswer:
        asked = await self._prepare(ask)
        async with await self._open(asked) as relay:
            said = read(await relay.read())
        return await self._finish(asked, said, relay.served)

    async def begin(self, ask: RagAsk) -> tuple[Asked, Relay]:
        """Retrieve, pack and ask; what goes wrong until here still has a status line."""
        asked = await self._prepare(ask)
        return asked, await self._open(asked)

    async def events(self, asked: Asked, relay: Relay) -> AsyncIterator[bytes]:
        """``rag.passages``, then deltas as they are said, then the whole ``rag.answer``."""
        packed = asked.packed
        yield _event(
            RagPassages(
                id=asked.id,
                passages=list(packed.passages),
                left_out=packed.left_out,
                packing=packed.packing,
            )
        )
        said, splitter = Said(), Splitter()
        try:
            async for chunk in relay.data():
                if text := take(said, chunk):
                    asked.clock.mark("first_token_ms")
                    for kind, piece in splitter.feed(text):
                        yield _event(RagDelta(object=EVENTS[kind], id=asked.id, delta=piece))
            for kind, piece in splitter.end():
                yield _event(RagDelta(object=EVENTS[kind], id=asked.id, delta=piece))
            answer = await self._finish(asked, said, relay.served)
        except FineproofError as error:
            yield error_event(error)
            return
        yield _event(answer)
        if asked.ask.include_usage:
            yield _event(RagUsage(id=asked.id, usage=answer.usage))
        yield DONE

    async def _prepare(self, ask: RagAsk) -> Asked:
        clock = Clock()
        passages = await self._passages(ask)
        clock.lap("retrieval_ms")
        route = self._generator.route(ask.model or self._generator.base_model)
        packed = await self._generator.pack(route, prompt_of(ask, passages), ask.max_tokens)
        clock.lap("packing_ms")
        return Asked(ask=ask, route=route, packed=packed, clock=clock)

    async def _passages(self, ask: RagAsk) -> list[UsedPassage]:
        if ask.vector_store_id is None:
            return number(ask.passages or ())
        search = SearchAsk(query=ask.asked, max_num_results=ask.top_k, filters=ask.filters)
        return await find(self._retriever, ask.vector_store_id, search)

    async def _open(self, asked: Asked) -> Relay:
        ask = asked.ask
        request: dict[str, Any] = {
            "model": asked.route.model,
            "messages": asked.packed.messages,
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
        }
        if ask.seed is not None:
            request["seed"] = ask.seed
        if ask.stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        return await self._generator.open(CHAT, asked.route, json.dumps(request).encode())

    async def _finish(self, asked: Asked, said: Said, served: Served) -> RagAnswer:
        asked.clock.lap("generation_ms")
        if said.usage is None:
            raise unreadable()
        ask, packed = asked.ask, asked.packed
        answer, reasoning = split_reasoned(said.text)
        citations = await cited(answer, packed.passages, ask.asked)
        asked.clock.lap("citing_ms")
        return RagAnswer(
            id=asked.id,
            created=asked.created,
            model=served.model,
            adapter_sha256=served.sha256,
            condition=ask.condition,
            answer=answer,
            reasoning=reasoning,
            finish_reason=said.finish_reason,
            citations=citations,
            passages=list(packed.passages),
            left_out=packed.left_out,
            packing=packed.packing,
            template_sha256=template_sha256(ask.prompt_template),
            prompt_sha256=prompt_sha256(packed.messages),
            usage=said.usage,
            timings=asked.clock.timings(),
        )


def prompt_of(ask: RagAsk, passages: Sequence[UsedPassage]) -> Prompt:
    """The question with the conversation that led to it; a system message replaces ours."""
    earlier = [turn.model_dump() for turn in (ask.messages or [])[:-1]]
    system = earlier.pop(0)["content"] if earlier and earlier[0]["role"] == "system" else SYSTEM
    render = partial(render_messages, ask.asked, system=system, template=ask.prompt_template)
    return Prompt(
        render,
        passages,
        earlier,
        first=len(ask.messages or ()) - 1 - len(earlier),
        param="question" if ask.messages is None else "messages",
    )


def template_sha256(template: str | None) -> str:
    return TEMPLATE_SHA256 if template is None else hashlib.sha256(template.encode()).hexdigest()


def prompt_sha256(messages: Messages) -> str:
    """Over the messages as compact JSON with sorted keys, UTF-8."""
    canonical = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)


def _event(data: RagEvent) -> bytes:
    return f"event: {data.object}\ndata: {data.model_dump_json()}\n\n".encode()
