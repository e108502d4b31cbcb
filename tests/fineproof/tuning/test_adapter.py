"""``fineproof tune`` of one adapter, before a stack of agreed answers at a real address."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import Request

from fineproof.tuning.adapter import Tuned
from services.common.contracts.retriever import FileCounts, Ingestion, VectorStore
from services.common.contracts.trainer import FineTuningJobCreate
from services.common.errors import NotFound
from tests.fineproof.judge.test_commands import BASE, FakeStack
from tests.fineproof.tuning.conftest import Tune, write
from tests.services.generator.conftest import serving

ADAPTER = "ft:small-base:judge:ftjob_1"  # as that stack calls the one it makes


class Stack(FakeStack):
    """One that takes passages in, and proves what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.stores: list[bytes] = []
        self.proves = True
        self.jobs_seen = ["paused", "running"]
        """What is told of a job before it ends."""
        route = self.app.add_api_route
        route("/v1/vector_stores", self.make, methods=["POST"])
        route("/v1/vector_stores/{store}", self.store)
        route("/v1/vector_stores/{store}/passages", self.ingest, methods=["POST"])
        route("/v1/vector_stores/{store}/ingestions/{ingestion}", self.ingested)

    def make(self, ask: dict[str, Any]) -> VectorStore:
        self.named = ask["name"]
        self.stores.append(b"")
        return self.store(f"vs_{len(self.stores)}")

    def store(self, store: str) -> VectorStore:
        if int(store.removeprefix("vs_")) > len(self.stores):
            raise NotFound("No such store.")
        return VectorStore(
            id=store,
            created_at=0,
            name=None,
            status="completed",
            usage_bytes=0,
            file_counts=FileCounts(),
            last_active_at=None,
            metadata={},
            passages=64,
        )

    async def ingest(self, store: str, request: Request) -> Ingestion:
        self.stores[-1] = await request.body()
        return self._ingestion(store, "in_progress")

    def ingested(self, store: str, ingestion: str) -> Ingestion:
        return self._ingestion(store, "completed")

    def _ingestion(self, store: str, status: Any) -> Ingestion:
        return Ingestion(
            id="ing_1",
            vector_store_id=store,
            created_at=0,
            finished_at=None,
            status=status,
            received=64,
            embedded=64,
            error=None,
        )

    def job(self, job_id: str) -> dict[str, Any]:
        told = super().job(job_id)
        return told | ({"status": self.jobs_seen.pop()} if self.jobs_seen else {})

    def load(self, ask: dict[str, Any]) -> dict[str, Any]:
        proof = {
            "adapter": ask["name"], "replica": "http://vllm-0", "sha256": "ab" * 32,
            "modules_in_file": 210, "modules_matched": 210, "max_abs_logprob_delta": 1.5,
            "peft_max_abs_diff": 0.001, "tolerance": 0.05, "checked_at": 0,
        }  # fmt: skip
        return super().load(ask) | ({"proof": proof, "proofs": [proof]} if self.proves else {})


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stack]:
    monkeypatch.setattr("fineproof.tuning.jobs.POLL_SECONDS", 0.01)
    monkeypatch.setattr("fineproof.experiment.stack.POLL_SECONDS", 0.01)
    stack = Stack()
    with serving(stack.app) as url:
        monkeypatch.setenv("FINEPROOF_URL", url)
        yield stack


def test_an_adapter_is_tuned_proven_and_shown_with_a_way_to_ask_it(
    tune: Tune, stack: Stack
) -> None:
    told = tune("--pairs", "10", "--epochs", "3", "--batch-size", "4", "--rank", "32")
    assert told.code == 0, told.stderr
    (job,) = stack.jobs
    asked = FineTuningJobCreate.model_validate(job)
    assert (asked.model, asked.training_file, asked.suffix, asked.seed) == (BASE, "file_0", "qa", 0)
    assert asked.method is not None
    inner = asked.method.hyperparameters
    assert (inner.n_epochs, inner.batch_size, inner.learning_rate) == (3, 4, 2e-4)
    assert (inner.lora.r, inner.lora.lora_alpha) == (32, 64)
    ((purpose, content),) = stack.files
    assert (purpose, len(content.splitlines())) == ("fine-tune", 10)
    assert stack.stores == []

    *_, name, proof, ask = told.stdout.splitlines()
    assert name == ADAPTER
    assert proof.startswith(f"{ADAPTER} is applied by http://vllm-0: 210 of 210 modules matched")
    command = shlex.split(ask.removeprefix("Ask it: "))
    assert command == ["fineproof", "ask", "What is it's 0?", "--model", ADAPTER]


def test_passages_are_ingested_once_for_a_recipe_that_shows_them(tune: Tune, stack: Stack) -> None:
    options = ("--recipe", "rag", "--passages", "4", "--suffix", "mine", "--seed", "5")
    options += ("--within-document",)
    told = tune(*options)
    assert told.code == 0, told.stderr
    (passages,) = stack.stores
    assert len(passages.splitlines()) == 64
    assert stack.named == "handbook"
    (job,) = stack.jobs
    assert (job["suffix"], job["seed"]) == ("mine", 5)
    inner = job["method"]["supervised"]["hyperparameters"]
    assert inner["recipe"] == "rag"
    assert inner["retrieval"]["vector_store_id"] == "vs_1"
    assert inner["retrieval"]["max_num_results"] == 4
    assert inner["retrieval"]["within_document"] is True
    assert told.stdout.rstrip().endswith("--store vs_1 --top-k 4")

    again = tune(*options)
    assert again.code == 0
    assert (len(stack.jobs), len(stack.files), len(stack.stores)) == (1, 1, 1)
    tune(*options, "--epochs", "1")
    assert (len(stack.jobs), len(stack.files), len(stack.stores)) == (2, 1, 1)


def test_json_is_the_adapter_and_nothing_else(tune: Tune, stack: Stack, tmp_path: Path) -> None:
    told = tune("--json")
    made = Tuned.model_validate_json(told.stdout)
    assert (made.adapter, made.job_id, made.pairs, made.vector_store) == (
        ADAPTER,
        "ftjob_1",
        12,
        None,
    )
    assert made.proof.modules_matched == 210
    assert json.loads((tmp_path / "out" / "adapter.json").read_text()) == told.json
    assert "Training the adapter" in told.stderr


def test_a_job_that_failed_is_no_verdict_and_is_made_anew(tune: Tune, stack: Stack) -> None:
    stack.job_status = "failed"
    told = tune()
    assert told.code == 3
    assert told.stderr.endswith("fineproof: Job ftjob_1 failed: It did not fit.\n")
    stack.job_status = "succeeded"
    assert tune().code == 0
    assert len(stack.jobs) == 2


def test_only_the_files_that_are_needed_must_be_there(tune: Tune, stack: Stack, data: Path) -> None:
    (data / "test.jsonl").unlink()
    (data / "corpus.jsonl").unlink()
    assert tune().code == 0
    told = tune("--recipe", "raft")
    assert told.code == 3
    assert "has no corpus.jsonl: recipe 'raft' trains on its passages" in told.stderr
    write(data / "train.jsonl", [{"id": "q1", "question": "Why?"}])
    assert "line 1: 'answer' is missing" in tune().stderr
    (data / "train.jsonl").unlink()
    assert "has no train.jsonl" in tune().stderr
    assert tune("--until-it-helps").code == 3
    assert len(stack.jobs) == 1


def test_a_name_that_cannot_be_is_refused_in_a_sentence(tune: Tune, stack: Stack) -> None:
    told = tune("--suffix", "not/a name")
    assert told.code == 3
    assert "suffix: String should match pattern" in told.stderr
    assert stack.jobs == []


def test_without_a_proof_nothing_is_called_tuned(tune: Tune, stack: Stack) -> None:
    stack.proves = False
    told = tune()
    assert told.code == 3
    assert f"Adapter {ADAPTER} is loaded without a proof" in told.stderr
