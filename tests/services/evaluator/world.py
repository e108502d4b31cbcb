"""What the evaluator's stand-ins know, do, and have been asked."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from services.common.contracts.generator import Citation, RagAsk
from services.common.contracts.retriever import (
    BatchQuery,
    ComparisonFilter,
    Content,
    Passage,
    SearchResult,
)
from services.common.contracts.trainer import (
    FineTuningJob,
    FineTuningJobCreate,
    JobError,
    Progress,
)
from services.common.errors import Conflict, FineproofError, NotFound, RateLimited
from services.evaluator.metrics.text import words
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
    window: int | None = 4096
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

    def search(self, query: BatchQuery, k: int) -> list[SearchResult]:
        """By the share of the query's words."""
        asked = set(words(query.query or ""))
        passages = self.passages
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
