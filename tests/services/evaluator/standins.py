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
from hashlib import sha256
from typing import Annotated, Any

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
    Citation,
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
from services.common.contracts.trainer import (
    AdapterRecord,
    FileObject,
    FineTuningJob,
    FineTuningJobCreate,
    JobError,
    JobEvent,
    Progress,
)
from services.common.errors import Conflict, FineproofError, NotFound, RateLimited, add_handlers
from services.evaluator.metrics.text import words
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.judges.fake import FakeJudge

BASE = "small-base"
REPLICAS = ("http://vllm-0", "http://vllm-1")
SHA = "ab" * 32


@dataclass
class World:
    """What the stand-ins know, do, and have been asked."""

    passages: list[Passage]
    items: list[dict[str, Any]]
    speak: Callable[[RagAsk], str]
    cite: Callable[[RagAsk, str], list[Citation]] = lambda *_: []
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
    aliases: dict[str, str] = field(default_factory=dict)
    training: "Training" = field(default_factory=lambda: Training())
    judge: FakeJudge = field(default_factory=FakeJudge)
    milestones: dict[int, asyncio.Event] = field(default_factory=dict)

    async def has_answered(self, count: int) -> None:
        """Wait until ``count`` questions were answered in all."""
        await self.milestones.setdefault(count, asyncio.Event()).wait()

    @property
    def lines(self) -> list[str]:
        return self.raw_lines or [json.dumps(item) for item in self.items]


@dataclass
class Training:
    """The trainer's files and jobs: a job ends after ``looks`` looks, as ``ends`` says."""

    files: dict[str, str] = field(default_factory=dict)
    purposes: dict[str, str] = field(default_factory=dict)
    jobs: dict[str, FineTuningJob] = field(default_factory=dict)
    keys: dict[str, tuple[str, str]] = field(default_factory=dict)
    looks: int = 2
    ends: Callable[[FineTuningJob], JobError | None] = lambda _: None
    room: int = 100
    findings: list[dict[str, Any]] = field(default_factory=list)

    def put(self, content: str, purpose: str = "fine-tune") -> str:
        file_id = f"file_t{len(self.files)}"
        self.files[file_id], self.purposes[file_id] = content, purpose
        return file_id

    def create(self, ask: FineTuningJobCreate, key: str) -> FineTuningJob:
        body = ask.model_dump_json()
        if key in self.keys:
            job_id, before = self.keys[key]
            if body != before:
                raise Conflict("Another body.", code="idempotency_key_reused")
            return self.jobs[job_id]
        if sum(job.status == "running" for job in self.jobs.values()) >= self.room:
            raise RateLimited("No room.", code="too_many_jobs")
        job_id = f"ftjob_{len(self.jobs)}"
        self.keys[key] = (job_id, body)
        self.jobs[job_id] = FineTuningJob(
            id=job_id,
            created_at=0,
            finished_at=None,
            estimated_finish=None,
            model=ask.model,
            fine_tuned_model=None,
            status="running",
            training_file=ask.training_file,
            validation_file=None,
            result_files=[],
            trained_tokens=None,
            hyperparameters={},
            method=ask.method.model_dump() if ask.method else {},
            seed=ask.seed or 0,
            error=None,
            metadata=ask.metadata,
            checks=ask.checks.model_dump(),
            progress=Progress(step=0, total_steps=self.looks, seconds_left=1.0),
        )
        return self.jobs[job_id]

    def look(self, job_id: str) -> FineTuningJob:
        if job_id not in self.jobs:
            raise NotFound("No such job.")
        job = self.jobs[job_id]
        if job.status == "running":
            job.progress.step += 1
            if job.progress.step >= self.looks:
                job.error = self.ends(job)
                job.status = "failed" if job.error else "succeeded"
                if not job.error:
                    job.fine_tuned_model = f"ft:{job.model}:made:{job.id}"
        return job

    def cancel(self, job_id: str) -> FineTuningJob:
        job = self.jobs[job_id]
        if job.status != "running":
            raise Conflict("It is over.", code="job_finished")
        job.status = "cancelled"
        return job


def generator_app(world: World) -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/v1/models")
    def models() -> ModelList:
        return ModelList(data=[Model(id=BASE, created=0)])

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
