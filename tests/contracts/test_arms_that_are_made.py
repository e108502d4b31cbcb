"""Arms that an experiment makes, by the real trainer: trained, found again and cancelled."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from services.common.clients.trainer import TrainerClient
from services.common.contracts.evaluator import Report
from services.common.db import Database
from services.evaluator import storage
from services.evaluator.peers import Peers
from services.evaluator.phases.tuning import cancel_jobs
from services.evaluator.runner import run_experiment
from services.evaluator.settings import EvaluatorSettings
from services.trainer.main import create_app
from services.trainer.running.scheduling import work
from services.trainer.settings import TrainerSettings
from tests.services.evaluator.conftest import Bench, bench, db, settings, world  # noqa: F401
from tests.services.evaluator.standins import connect
from tests.services.trainer.conftest import (  # noqa: F401
    BASE,
    jsonl,
    pairs,
    tiny_model,
    workshop_of,
)


@asynccontextmanager
async def trainer(told: TrainerSettings) -> AsyncIterator[TrainerClient]:
    app = create_app(told)
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        yield TrainerClient(http)


@contextmanager
def at_work(told: TrainerSettings) -> Iterator[None]:
    """A worker in a thread, that takes up jobs as they come."""
    shop, over = workshop_of(told, Database(told.database_url)), threading.Event()

    def go_on() -> None:
        while not over.is_set():
            if not work(shop):
                over.wait(0.1)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        shop.db.close()


async def test_the_trainer_makes_what_an_experiment_declares(
    bench: Bench,  # noqa: F811
    tiny_model: Path,  # noqa: F811
    redis_url: str,
    tmp_path: Path,
) -> None:
    of_trainer = TrainerSettings(
        mode="local",
        database_url=bench.settings.database_url,
        redis_url=redis_url,
        storage_url=bench.settings.storage_url,
        base_models={BASE: str(tiny_model)},
        work_dir=tmp_path / "work",
    )
    train, test = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    train.write_bytes(jsonl(pairs(30)))
    test.write_bytes(jsonl(bench.world.items))
    async with trainer(of_trainer) as client:

        @asynccontextmanager
        async def peers(of_evaluator: EvaluatorSettings) -> AsyncIterator[Peers]:
            async with connect(bench.world, of_evaluator) as known:
                yield replace(known, trainer=client)

        async def run(name: str) -> Any:
            await run_experiment(
                name,
                db=bench.db,
                artifacts=bench.artifacts,
                settings=bench.settings,
                connect=peers,
            )
            return bench.find(name)

        training_file = (await client.upload_file(train, "fine-tune")).id
        dataset = {"name": "colours", "file_id": (await client.upload_file(test, "evals")).id}

        def put(name: str, size: int, seed: int = 0) -> str:
            how = {"n_epochs": 1, "batch_size": 8, "lora": {"r": 4}}
            tune = {"base_model": BASE, "training_file": training_file, "hyperparameters": how}
            made = {"name": f"p{size}", "tune": tune | {"pairs": size, "seeds": [seed]}}
            arms = [{"name": "base", "model": BASE}, made]
            return bench.put(name, dataset=dataset, arms=arms, conditions=["closed_book"])

        with at_work(of_trainer):
            row = await run(put("exp_1", 20))
            assert row.error is None
            report = Report.model_validate(row.report)
            job = await client.job(str(report.arms[1].job_id))
            assert job.status == "succeeded"
            assert report.arms[1].model == job.fine_tuned_model
            async with client.file_lines(job.training_file) as lines:
                assert len([line async for line in lines]) == 20

            again = Report.model_validate((await run(put("exp_2", 20))).report)
            assert again.arms[1].job_id == job.id

        turn = asyncio.create_task(run(put("exp_3", 20, seed=7)))
        # Only the row tells what its worker has asked for.
        while not (await asyncio.to_thread(bench.find, "exp_3")).tunings:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        with bench.db.transaction() as session:
            assert storage.cancel(session, "exp_3")
        await turn
        async with peers(bench.settings) as known:
            await cancel_jobs("exp_3", db=bench.db, peers=known)
        [entry] = bench.find("exp_3").tunings
        assert (await client.job(entry["job_id"])).status == "cancelled"
        assert len((await client.jobs()).data) == 2
