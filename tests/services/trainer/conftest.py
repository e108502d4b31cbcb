"""A trainer under uvicorn, and the parts its worker would use, on a model of two tiny layers."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from services.common.db import Database
from services.common.storage import ArtifactStore
from services.trainer import storage
from services.trainer.main import create_app
from services.trainer.models import Adapter
from services.trainer.running.attempt import Workshop
from services.trainer.running.scheduling import work
from services.trainer.settings import TrainerSettings
from tests.services.retriever.conftest import (  # noqa: F401
    Retriever,
    retriever,
    retriever_settings,
)

BASE = "tiny-instruct"
TOOLS = ("lathe", "kiln", "press", "loom", "crane", "forge")


@pytest.fixture(scope="session")
def tiny_model(base_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, 2 layers of 64, with the real model's tokenizer and chat template."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / BASE
    tokenizer = AutoTokenizer.from_pretrained(base_model)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture
def settings(
    tiny_model: Path, database_url: str, redis_url: str, storage_url: str, tmp_path: Path
) -> TrainerSettings:
    return TrainerSettings(
        mode="local",
        database_url=database_url,
        redis_url=redis_url,
        storage_url=storage_url,
        base_models={BASE: str(tiny_model)},
        work_dir=tmp_path / "work",
        max_upload_bytes=2**20,
        max_unfinished_jobs=5,
        wandb_mode="offline",
    )


@pytest.fixture
def url(settings: TrainerSettings) -> Iterator[str]:
    config = uvicorn.Config(create_app(settings), host="127.0.0.1", port=0, log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the trainer did not start"
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    """The stock client, as a caller has it."""
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def toolshed(retriever: Retriever) -> str:  # noqa: F811
    """A vector store of a real retriever that knows where each tool is."""
    return retriever.fill(
        {"id": tool, "title": f"About the {tool}", "text": where_is(tool)} for tool in TOOLS
    )


def where_is(tool: str) -> str:
    return f"It is old. The {tool} is in hall {TOOLS.index(tool)}."


@pytest.fixture
def workshop(url: str, settings: TrainerSettings) -> Iterator[Workshop]:
    """What a worker works with; ``url`` has migrated the database."""
    db = Database(settings.database_url)
    yield workshop_of(settings, db)
    db.close()


def workshop_of(settings: TrainerSettings, db: Database) -> Workshop:
    store = ArtifactStore(settings.storage_url)
    return Workshop(settings, db, store, wake=lambda: None, stopping=lambda: False)


def fine_tune(shop: Workshop, job_id: str) -> None:
    """What workers do, wake-up by wake-up, until the job is no more for them."""
    while work(shop):
        with shop.db.transaction() as session:
            job = storage.get_job(session, job_id)
        if job is None or job.status not in storage.UNFINISHED:
            return


def registered(shop: Workshop, name: str, **known: Any) -> str:
    """Put an adapter of no job into the registry."""
    nothing = {
        "job_id": "ftjob",
        "step": 1,
        "rank": 1,
        "sha256": "",
        "dataset_sha256": "",
        "url": "",
    }
    row = {"base_model": BASE, "recipe": "qa", "target_modules": [], "files": [], "metrics": {}}
    adapter = Adapter(id=name, created_at=storage.now(), **nothing | row | known)
    with shop.db.transaction() as session:
        storage.add_all(session, [adapter])
    return name


def messages(client: openai.OpenAI, job_id: str) -> list[str]:
    """What was told of a job, as it happened."""
    events = client.fine_tuning.jobs.list_events(job_id, extra_query={"order": "asc"})
    return [event.message for event in events]


def pairs(count: int) -> list[dict[str, Any]]:
    return [
        {"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}.", "extra": n}
        for n in range(count)
    ]


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def upload(client: openai.OpenAI) -> Callable[..., str]:
    """Upload rows, or bytes, as a training file; gives its id."""

    def send(rows: list[dict[str, Any]] | bytes, purpose: Any = "fine-tune") -> str:
        content = rows if isinstance(rows, bytes) else jsonl(rows)
        return client.files.create(file=("train.jsonl", content), purpose=purpose).id

    return send
