"""The trainer's client against the real application."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from services.common.clients.trainer import TrainerClient
from services.common.contracts.hyperparameters import Method
from services.common.contracts.trainer import FineTuningJobCreate
from services.common.db import Database
from services.common.errors import InvalidRequest, NotFound
from services.trainer.main import create_app
from services.trainer.settings import TrainerSettings
from tests.services.trainer.conftest import (  # noqa: F401
    BASE,
    fine_tune,
    jsonl,
    pairs,
    tiny_model,
    workshop_of,
)


async def test_the_client_speaks_what_the_trainer_answers(
    tiny_model: Path,  # noqa: F811
    database_url: str,
    redis_url: str,
    storage_url: str,
    tmp_path: Path,
) -> None:
    settings = TrainerSettings(
        mode="local",
        database_url=database_url,
        redis_url=redis_url,
        storage_url=storage_url,
        base_models={BASE: str(tiny_model)},
        work_dir=tmp_path / "work",
    )
    app = create_app(settings)
    path = tmp_path / "train.jsonl"
    path.write_bytes(jsonl(pairs(10)))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        client = TrainerClient(http)
        file = await client.upload_file(path, "fine-tune")
        assert await client.file(file.id) == file
        async with client.file_lines(file.id) as lines:
            assert [json.loads(line) async for line in lines] == pairs(10)
        async with client.file_content(file.id) as blocks:
            assert b"".join([block async for block in blocks]) == jsonl(pairs(10))

        method = {"supervised": {"hyperparameters": {"n_epochs": 1, "learning_rate": 0.01}}}
        ask = FineTuningJobCreate(
            model=BASE, training_file=file.id, method=Method.model_validate(method)
        )
        job = await client.create_job(ask)
        assert (await client.jobs()).data == [job]
        with pytest.raises(InvalidRequest) as refused:
            await client.create_job(ask.model_copy(update={"model": "none"}))
        assert refused.value.code == "model_not_found"

        shop = workshop_of(settings, Database(database_url))
        await asyncio.get_running_loop().run_in_executor(None, fine_tune, shop, job.id)
        shop.db.close()
        job = await client.job(job.id)
        assert job.status == "succeeded", job.error
        assert job.fine_tuned_model
        events = await client.events(job.id)
        later = await client.events(job.id, after=events.data[0].id)
        assert later.data == events.data[1:]
        adapter = await client.adapter(job.fine_tuned_model)
        assert (await client.adapters()).data == [adapter]
        assert {file.name for file in adapter.files} == {
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
            "canary.json",
        }
        with pytest.raises(NotFound):
            await client.adapter("ft:none")
