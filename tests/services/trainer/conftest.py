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
from services.trainer.fine_tuning import Workshop
from services.trainer.main import create_app
from services.trainer.settings import TrainerSettings

BASE = "tiny-instruct"


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
def workshop(url: str, settings: TrainerSettings) -> Iterator[Workshop]:
    """What a worker works with; ``url`` has migrated the database."""
    db = Database(settings.database_url)
    yield Workshop(settings, db, ArtifactStore(settings.storage_url))
    db.close()


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
