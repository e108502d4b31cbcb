"""Cited answers: retrieve, pack, ask, attribute."""

import hashlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio.to_thread

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.generator import (
    Citation,
    RagAnswer,
    RagAsk,
    RagTimings,
    Usage,
    UsedPassage,
)
from services.common.contracts.retriever import SearchAsk
from services.common.errors import FineproofError, UpstreamFailed
from services.common.ids import new_id, now
from services.generator.citations import cite
from services.generator.packing import Messages, pack
from services.generator.relay import DONE, Relay, error_event
from services.generator.schemas import RagDelta, RagPassages
from services.generator.service import Generator
from services.generator.vllm import away

CHAT = "/v1/chat/completions"


@dataclass
class Asked:
    """A question with its prompt, on its way to the model. Times are ``time.perf_counter``'s."""

    ask: RagAsk
    model: str
    messages: Messages
    passages: list[UsedPassage]
    left_out: list[str]
    started: float
    retrieved: float
    id: str = field(default_factory=lambda: new_id("rag"))
    created: int = field(default_factory=now)


@dataclass
class Said:
    """What the model has said so far."""

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None


class Rag:
    def __init__(self, generator: Generator, retriever: RetrieverClient) -> None:
        self._generator = generator
        self._retriever = retriever

    async def answer(self, ask: RagAsk) -> RagAnswer:
        asked = await self._prepare(ask)
        async with await self._open(asked) as relay:
            said = _read(await relay.read())
        return await self._finish(asked, said)

    async def begin(self, ask: RagAsk) -> tuple[Asked, Relay]:
        """Retrieve, pack and ask; what goes wrong until here still has a status line."""
        asked = await self._prepare(ask)
        return asked, await self._open(asked)

    async def events(self, asked: Asked, relay: Relay) -> AsyncIterator[bytes]:
        """``rag.passages``, then ``rag.delta`` as it is said, then the whole ``rag.answer``."""
        passages = RagPassages(id=asked.id, passages=asked.passages, left_out=asked.left_out)
        yield _event(passages.object, passages.model_dump_json())
        said = Said()
        try:
            async for chunk in relay.data():
                delta = _take(said, chunk)
                if delta:
                    piece = RagDelta(id=asked.id, delta=delta)
                    yield _event(piece.object, piece.model_dump_json())
            answer = await self._finish(asked, said)
        except FineproofError as error:
            yield error_event(error)
            return
        yield _event(answer.object, answer.model_dump_json())
        yield DONE

    async def _prepare(self, ask: RagAsk) -> Asked:
        started = time.perf_counter()
        ranked = await self._passages(ask)
        retrieved = time.perf_counter()
        replica = self._generator.fleet.pick()
        if replica is None or replica.max_model_len is None:
            raise away("its window is not known yet")
        messages, fitting = await pack(
            ask.question,
            ranked,
            window=replica.max_model_len,
            max_tokens=ask.max_tokens,
            count=replica.count_tokens,
        )
        return Asked(
            ask=ask,
            model=ask.model or self._generator.base_model,
            messages=messages,
            passages=ranked[:fitting],
            left_out=[passage.id for passage in ranked[fitting:]],
            started=started,
            retrieved=retrieved,
        )

    async def _passages(self, ask: RagAsk) -> list[UsedPassage]:
        if ask.vector_store_id is None:
            return [
                UsedPassage(index=n, **given.model_dump())
                for n, given in enumerate(ask.passages or (), 1)
            ]
        search = SearchAsk(
            query=ask.question, max_num_results=ask.max_num_results, filters=ask.filters
        )
        found = await self._retriever.search(ask.vector_store_id, search)
        return [
            UsedPassage(
                index=n,
                id=result.passage_id,
                doc_id=result.doc_id,
                title=result.title,
                text=result.text,
                score=result.score,
            )
            for n, result in enumerate(found, 1)
        ]

    async def _open(self, asked: Asked) -> Relay:
        ask = asked.ask
        request: dict[str, Any] = {
            "model": asked.model,
            "messages": asked.messages,
            "max_tokens": ask.max_tokens,
            "temperature": ask.temperature,
        }
        if ask.seed is not None:
            request["seed"] = ask.seed
        if ask.stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        return await self._generator.open(CHAT, asked.model, json.dumps(request).encode())

    async def _finish(self, asked: Asked, said: Said) -> RagAnswer:
        finished = time.perf_counter()
        if said.usage is None:
            raise _unreadable()
        return RagAnswer(
            id=asked.id,
            created=asked.created,
            model=asked.model,
            adapter_sha256=self._generator.adapter_sha256(asked.model),
            condition=asked.ask.condition,
            answer=said.text,
            finish_reason=said.finish_reason,
            citations=await _cited(said.text, asked.passages, asked.ask.question),
            passages=asked.passages,
            left_out=asked.left_out,
            prompt_sha256=prompt_sha256(asked.messages),
            usage=said.usage,
            timings=RagTimings(
                retrieval_ms=_ms(asked.started, asked.retrieved),
                generation_ms=_ms(asked.retrieved, finished),
                total_ms=_ms(asked.started, time.perf_counter()),
            ),
        )


def prompt_sha256(messages: Messages) -> str:
    """Over the messages as compact JSON with sorted keys, UTF-8."""
    canonical = json.dumps(messages, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


async def _cited(answer: str, passages: Sequence[UsedPassage], question: str) -> list[Citation]:
    # In a thread: comparing a long answer with a full window of passages takes a while.
    return await anyio.to_thread.run_sync(cite, answer, passages, question)


def _read(body: bytes) -> Said:
    try:
        answer = json.loads(body)
        choice = answer["choices"][0]
        return Said(
            text=choice["message"]["content"] or "",
            finish_reason=choice["finish_reason"],
            usage=Usage.model_validate(answer["usage"]),
        )
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise _unreadable() from error


def _take(said: Said, chunk: dict[str, Any]) -> str:
    """Add one chunk of a stream to what was said; returns its text."""
    try:
        if chunk.get("usage"):
            said.usage = Usage.model_validate(chunk["usage"])
        if not chunk["choices"]:
            return ""
        choice = chunk["choices"][0]
        delta: str = choice["delta"].get("content") or ""
        said.text += delta
        said.finish_reason = choice.get("finish_reason") or said.finish_reason
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise _unreadable() from error
    return delta


def _unreadable() -> UpstreamFailed:
    return UpstreamFailed(
        "The model server's answer cannot be read.", code="model_server_malformed"
    )


def _ms(start: float, end: float) -> float:
    return round((end - start) * 1000, 3)


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()
