"""Stand-ins for the three peers, as real applications on the agreed wire.

They stand where a GPU-class model, its adapters and an embedder would: the runner's own tests need
answers whose truth is known. Whole peers are walked through end to end elsewhere.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from typing import Annotated

import httpx
from fastapi import FastAPI, Form, Header, UploadFile
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.aliases import Alias
from services.common.contracts.base import Page
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
    BatchSearchAsk,
    BatchSearchResults,
    FileCounts,
    PassagesAsk,
    PassagesFound,
    VectorStore,
)
from services.common.contracts.trainer import (
    AdapterRecord,
    FileObject,
    FineTuningJob,
    FineTuningJobCreate,
    JobEvent,
)
from services.common.errors import NotFound, add_handlers
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.world import BASE, REPLICAS, SHA, World


def generator_app(world: World) -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/v1/models")
    def models() -> ModelList:
        return ModelList(
            data=[Model(id=BASE, created=0, base_revision="sha256:ab", max_model_len=world.window)]
        )

    @app.get("/v1/adapters/aliases/{name}")
    def alias(name: str) -> Alias:
        if name not in world.aliases:
            raise NotFound("No such alias.")
        return Alias(
            id=name,
            created_at=0,
            adapter=world.aliases[name],
            sha256=SHA,
            protected=False,
            gate=None,
            since=0,
            created_by="test",
        )

    @app.post("/v1/adapters")
    def load(ask: AdapterCreate) -> Adapter:
        if world.proof_error is not None:
            raise world.proof_error
        proofs = [
            AdapterProof(
                adapter=ask.name,
                replica=replica,
                sha256=SHA,
                modules_in_file=210,
                modules_matched=210,
                max_abs_logprob_delta=1.5,
                peft_max_abs_diff=0.001,
                tolerance=0.05,
                checked_at=0,
            )
            for replica in REPLICAS
        ]
        return Adapter(
            id=ask.name,
            created_at=0,
            base_model=BASE,
            recipe="qa",
            sha256=SHA,
            rank=16,
            status="loaded",
            proof=proofs[0],
            proofs=proofs,
            error=None,
        )

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await world.judge.complete(request)

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
            citations=world.cite(ask, text),
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
            world.searches[query.query or ""] += 1
        return BatchSearchResults(
            data=[world.search(query, ask.max_num_results) for query in ask.queries]
        )

    @app.post("/v1/vector_stores/{store_id}/passages/get")
    def get(store_id: str, ask: PassagesAsk) -> PassagesFound:
        known = {passage.id: passage for passage in world.passages}
        return PassagesFound(
            data=[known[id_] for id_ in ask.ids if id_ in known],
            missing=[id_ for id_ in ask.ids if id_ not in known],
        )

    return app


def trainer_app(world: World) -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    training = world.training

    @app.get("/v1/files/{file_id}")
    def file(file_id: str) -> FileObject:
        if file_id not in ("file_1", *training.files):
            raise NotFound("No such file.")
        tunes = file_id in training.files
        return FileObject(
            id=file_id,
            bytes=1,
            created_at=0,
            filename="test.jsonl",
            purpose=training.purposes[file_id] if tunes else world.purpose,
            status="processed",
            sha256=sha256(training.files[file_id].encode()).hexdigest() if tunes else "ef" * 32,
        )

    @app.post("/v1/files")
    async def upload(file: UploadFile, purpose: Annotated[str, Form()]) -> FileObject:
        content = (await file.read()).decode()
        known = training.put(content, purpose)
        return FileObject(
            id=known,
            bytes=len(content),
            created_at=0,
            filename=str(file.filename),
            purpose=purpose,
            status="processed",
            sha256=sha256(content.encode()).hexdigest(),
        )

    @app.get("/v1/files/{file_id}/content")
    def content(file_id: str) -> PlainTextResponse:
        return PlainTextResponse(training.files.get(file_id, "\n".join(world.lines)))

    @app.post("/v1/fine_tuning/jobs")
    def create(
        ask: FineTuningJobCreate, idempotency_key: Annotated[str, Header()]
    ) -> FineTuningJob:
        return training.create(ask, idempotency_key)

    @app.get("/v1/fine_tuning/jobs/{job_id}")
    def job(job_id: str) -> FineTuningJob:
        return training.look(job_id)

    @app.get("/v1/fine_tuning/jobs/{job_id}/events")
    def events(job_id: str) -> Page[JobEvent]:
        told = [
            JobEvent(
                id=f"ftevent_{n}", created_at=0, level="warn", message="", type="message", data=data
            )
            for n, data in enumerate(training.findings)
        ]
        return Page[JobEvent](data=told)

    @app.post("/v1/fine_tuning/jobs/{job_id}/cancel")
    def cancel(job_id: str) -> FineTuningJob:
        return training.cancel(job_id)

    @app.get("/v1/fine_tuning/adapters/{name}")
    def adapter(name: str) -> AdapterRecord:
        made = [job.fine_tuned_model for job in training.jobs.values()]
        if name not in (*world.adapters, *made):
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
