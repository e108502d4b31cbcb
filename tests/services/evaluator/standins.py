"""Stand-ins for the three peers, as real applications on the agreed wire.

They stand where a GPU-class model, its adapters and an embedder would: the runner's own tests need
answers whose truth is known. Whole peers are walked through end to end elsewhere.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI
from starlette.responses import PlainTextResponse

from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.generator import (
    Adapter,
    AdapterCreate,
    AdapterProof,
    Model,
    ModelList,
    RagAnswer,
    RagAsk,
    RagTimings,
    Usage,
    UsedPassage,
)
from services.common.contracts.retriever import (
    BatchQuery,
    BatchSearchAsk,
    BatchSearchResults,
    ComparisonFilter,
    Content,
    FileCounts,
    Passage,
    PassagesAsk,
    PassagesFound,
    SearchResult,
    VectorStore,
)
from services.common.contracts.trainer import AdapterRecord, FileObject
from services.common.errors import FineproofError, NotFound, add_handlers
from services.evaluator.metrics.text import words
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings

BASE = "small-base"
SHA = "ab" * 32


@dataclass
class World:
    """What the stand-ins know, do, and have been asked."""

    passages: list[Passage]
    items: list[dict[str, Any]]
    speak: Callable[[RagAsk], str]
    adapters: list[str] = field(default_factory=list)
    purpose: str = "evals"
    store_status: str = "completed"
    refusal: Callable[[RagAsk], FineproofError | None] = lambda _: None
    away: FineproofError | None = None
    proof_error: FineproofError | None = None
    served_sha256: str = SHA
    delay: float = 0.0
    answered: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    asked_order: list[tuple[str, str, str]] = field(default_factory=list)
    searches: Counter[str] = field(default_factory=Counter)
    raw_lines: list[str] | None = None
    milestones: dict[int, asyncio.Event] = field(default_factory=dict)

    async def has_answered(self, count: int) -> None:
        """Wait until ``count`` questions were answered in all."""
        await self.milestones.setdefault(count, asyncio.Event()).wait()

    @property
    def lines(self) -> list[str]:
        return self.raw_lines or [json.dumps(item) for item in self.items]


def generator_app(world: World) -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/v1/models")
    def models() -> ModelList:
        return ModelList(data=[Model(id=BASE, created=0)])

    @app.post("/v1/adapters")
    def load(ask: AdapterCreate) -> Adapter:
        if world.proof_error is not None:
            raise world.proof_error
        return Adapter(
            id=ask.name,
            created_at=0,
            base_model=BASE,
            recipe="qa",
            sha256=SHA,
            rank=16,
            status="loaded",
            proof=AdapterProof(
                adapter=ask.name,
                replica="http://vllm",
                sha256=SHA,
                modules_in_file=210,
                modules_matched=210,
                max_abs_logprob_delta=1.5,
                peft_max_abs_diff=0.001,
                tolerance=0.05,
                checked_at=0,
            ),
            error=None,
        )

    @app.post("/v1/rag/query")
    async def rag(ask: RagAsk) -> RagAnswer:
        key = (ask.question, str(ask.model), ask.condition)
        world.asked_order.append(key)
        await asyncio.sleep(world.delay)
        if (error := world.refusal(ask)) is not None:
            raise error
        text = world.speak(ask)
        world.answered[key] += 1
        if (milestone := world.milestones.get(world.answered.total())) is not None:
            milestone.set()
        return RagAnswer(
            id="rag_1",
            created=0,
            model=str(ask.model),
            adapter_sha256=world.served_sha256 if str(ask.model).startswith("ft:") else None,
            condition=ask.condition,
            answer=text,
            finish_reason="stop",
            citations=[],
            passages=[
                UsedPassage(
                    index=n, id=p.id, doc_id=p.doc_id, title=p.title, text=p.text, score=p.score
                )
                for n, p in enumerate(ask.passages or [], 1)
            ],
            left_out=[],
            prompt_sha256="cd" * 32,
            usage=Usage(prompt_tokens=9, completion_tokens=3, total_tokens=12),
            timings=RagTimings(retrieval_ms=0, generation_ms=1, total_ms=1),
        )

    return app


def retriever_app(world: World) -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/v1/vector_stores/{store_id}")
    def store(store_id: str) -> VectorStore:
        if world.away is not None:
            raise world.away
        if store_id != "vs_1":
            raise NotFound("No such store.")
        return VectorStore.model_validate(
            {
                "id": store_id,
                "created_at": 0,
                "name": None,
                "status": world.store_status,
                "usage_bytes": 0,
                "file_counts": FileCounts(),
                "last_active_at": None,
                "metadata": {},
                "passages": len(world.passages),
            }
        )

    @app.post("/v1/vector_stores/{store_id}/search/batch")
    def search(store_id: str, ask: BatchSearchAsk) -> BatchSearchResults:
        for query in ask.queries:
            world.searches[query.query] += 1
        return BatchSearchResults(
            data=[_search(world.passages, query, ask.max_num_results) for query in ask.queries]
        )

    @app.post("/v1/vector_stores/{store_id}/passages/get")
    def get(store_id: str, ask: PassagesAsk) -> PassagesFound:
        known = {passage.id: passage for passage in world.passages}
        return PassagesFound(
            data=[known[id_] for id_ in ask.ids if id_ in known],
            missing=[id_ for id_ in ask.ids if id_ not in known],
        )

    return app


def _search(passages: Sequence[Passage], query: BatchQuery, k: int) -> list[SearchResult]:
    asked = set(words(query.query))
    if isinstance(query.filters, ComparisonFilter):
        wanted = query.filters.value
        passages = [passage for passage in passages if passage.doc_id == wanted]
    scored = [(len(asked & set(words(p.text))) / len(asked), p) for p in passages]
    best = sorted(scored, key=lambda pair: -pair[0])[:k]
    return [
        SearchResult(
            file_id=p.doc_id,
            filename=p.title,
            score=score,
            attributes=None,
            content=[Content(text=p.text)],
            passage_id=p.id,
            doc_id=p.doc_id,
            title=p.title,
        )
        for score, p in best
    ]


def trainer_app(world: World) -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/v1/files/{file_id}")
    def file(file_id: str) -> FileObject:
        if file_id != "file_1":
            raise NotFound("No such file.")
        return FileObject(
            id=file_id,
            bytes=1,
            created_at=0,
            filename="test.jsonl",
            purpose=world.purpose,
            status="processed",
            sha256="ef" * 32,
        )

    @app.get("/v1/files/{file_id}/content")
    def content(file_id: str) -> PlainTextResponse:
        return PlainTextResponse("\n".join(world.lines))

    @app.get("/v1/fine_tuning/adapters/{name}")
    def adapter(name: str) -> AdapterRecord:
        if name not in world.adapters:
            raise NotFound("No such adapter.")
        return AdapterRecord(
            id=name,
            created_at=0,
            base_model=BASE,
            recipe="qa",
            job_id="ftjob_1",
            step=1,
            sha256=SHA,
            dataset_sha256=SHA,
            rank=16,
            target_modules=["q_proj"],
            url="file:///nowhere",
            files=[],
            metrics={},
        )

    return app


@asynccontextmanager
async def connect(world: World, _: EvaluatorSettings) -> AsyncIterator[Peers]:
    """Real clients over a transport bound to the stand-ins."""
    async with AsyncExitStack() as stack:

        async def client(app: FastAPI) -> httpx.AsyncClient:
            return await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app), base_url="http://peer", timeout=30
                )
            )

        yield Peers(
            generator=GeneratorClient(await client(generator_app(world)), attempts=1),
            retriever=RetrieverClient(await client(retriever_app(world)), attempts=1),
            trainer=TrainerClient(await client(trainer_app(world)), attempts=1),
        )
