"""The steps of an experiment, each remembered, so that a second run goes on where one stopped."""

import asyncio
import shutil
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fineproof.errors import UserError
from fineproof.experiment.dataset import Dataset, passage_lines
from fineproof.experiment.memory import Memory
from fineproof.experiment.progress import Board
from fineproof.experiment.specification import Specification
from services.common.clients.evaluator import EvaluatorClient
from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.evaluator import (
    ArmAsk,
    DatasetAsk,
    Experiment,
    ExperimentCreate,
    Report,
)
from services.common.contracts.retriever import VectorStoreCreate
from services.common.contracts.trainer import (
    FineTuningJob,
    FineTuningJobCreate,
    Method,
    Purpose,
    Retrieval,
    Supervised,
    SupervisedHyperparameters,
)

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Stack:
    """The four services behind one origin."""

    retriever: RetrieverClient
    trainer: TrainerClient
    generator: GeneratorClient
    evaluator: EvaluatorClient


async def run(
    specification: Specification,
    dataset: Dataset,
    *,
    url: str,
    key: str | None,
    out: Path,
    board: Board,
) -> Report:
    """Ingest, tune, evaluate; write ``report.json``, ``.md``, ``.html`` and ``rows.jsonl``.

    ``out`` exists. Raises :class:`UserError` when a step fails for good, and the typed errors of
    :mod:`services.common.errors` when a service refuses or cannot be reached.
    """
    async with AsyncExitStack() as exits:
        stack = Stack(
            retriever=await exits.enter_async_context(RetrieverClient.connect(url, key)),
            trainer=await exits.enter_async_context(TrainerClient.connect(url, key)),
            generator=await exits.enter_async_context(GeneratorClient.connect(url, key)),
            evaluator=await exits.enter_async_context(EvaluatorClient.connect(url, key)),
        )
        work = _Run(specification, dataset, stack, Memory(out), board)
        return await work.to_report(out)


class _Run:
    def __init__(
        self,
        specification: Specification,
        dataset: Dataset,
        stack: Stack,
        memory: Memory,
        board: Board,
    ) -> None:
        self.specification = specification
        self.dataset = dataset
        self.stack = stack
        self.memory = memory
        self.board = board
        self.started = time.monotonic()
        self.timings: dict[str, float] = {}

    async def to_report(self, out: Path) -> Report:
        base = self.specification.base_model or await self._served_base()
        store = await self._ingest()
        train = await self._upload(self.dataset.train, "fine-tune")
        test = await self._upload(self.dataset.test, "evals")
        models = await self._models(base, train, store)
        for name, model in models.items():
            if model != base:
                await self._load(name, model)
        experiment = await self._evaluate(models, test, store)
        return await self._write(experiment, out)

    async def _served_base(self) -> str:
        served = await self.stack.generator.models()
        bases = [model.id for model in served.data if model.parent is None]
        if not bases:
            raise UserError("The generator serves no base model; see 'fineproof status'.")
        return bases[0]

    async def _ingest(self) -> str:
        retriever = self.stack.retriever

        async def make() -> str:
            store = await retriever.create_store(VectorStoreCreate(name=self.dataset.name))
            ingestion = await retriever.ingest(store.id, passage_lines(self.dataset.corpus))
            with self.board.bar("Ingesting passages", ingestion.received) as bar:
                while ingestion.status == "in_progress":
                    bar.at(ingestion.embedded)
                    await asyncio.sleep(POLL_SECONDS)
                    ingestion = await retriever.ingestion(store.id, ingestion.id)
                if ingestion.status != "completed":
                    raise UserError(f"Ingestion {ingestion.status}: {ingestion.error}")
                bar.at(ingestion.received)
            return store.id

        with self._timed("ingest"):
            return await self.memory.once(
                "vector_store", self.dataset.corpus_sha256, make, retriever.store
            )

    async def _upload(self, path: Path, purpose: Purpose) -> str:
        async def make() -> str:
            return (await self.stack.trainer.upload_file(path, purpose)).id

        return await self.memory.once(
            f"file-{purpose}", self.dataset.sha256, make, self.stack.trainer.file
        )

    async def _models(self, base: str, training_file: str, store: str) -> dict[str, str]:
        """Each arm's model; the jobs are all submitted before the first is waited for."""
        asks = {
            arm.name: FineTuningJobCreate(
                model=base,
                training_file=training_file,
                suffix=arm.name,
                seed=arm.seed,
                metadata={"study": self.specification.name, "dataset": self.dataset.name[:512]},
                method=Method(
                    supervised=Supervised(
                        hyperparameters=with_store(
                            arm.tune, store, k=self.specification.retrieval.max_num_results
                        )
                    )
                ),
            )
            for arm in self.specification.arms
            if arm.tune is not None
        }
        jobs = {name: await self._submit(name, ask) for name, ask in asks.items()}
        models: dict[str, str] = {}
        for arm in self.specification.arms:
            if arm.name in jobs:
                models[arm.name] = await self._tuned(arm.name, asks[arm.name], jobs[arm.name])
            else:
                models[arm.name] = arm.model or base
        return models

    async def _submit(self, arm: str, ask: FineTuningJobCreate) -> str:
        async def make() -> str:
            return (await self.stack.trainer.create_job(ask)).id

        return await self.memory.once(
            f"job-{arm}", ask.model_dump_json(), make, self.stack.trainer.job
        )

    async def _tuned(self, arm: str, ask: FineTuningJobCreate, job_id: str) -> str:
        with self._timed(f"tune_{arm}"):
            job = await self._watch(job_id, f"Tuning '{arm}'")
        if job.status != "succeeded" or job.fine_tuned_model is None:
            self.memory.forget(f"job-{arm}", ask.model_dump_json())
            reason = job.error.message if job.error else "no reason given"
            raise UserError(f"Job {job.id} {job.status}: {reason}")
        return job.fine_tuned_model

    async def _watch(self, job_id: str, title: str) -> FineTuningJob:
        job = await self.stack.trainer.job(job_id)
        with self.board.bar(title, None) as bar:
            while job.status in ("validating_files", "queued", "running"):
                bar.at(job.progress.step, job.progress.total_steps, note=job.status)
                await asyncio.sleep(POLL_SECONDS)
                job = await self.stack.trainer.job(job_id)
            bar.at(job.progress.step, job.progress.total_steps, note=job.status)
        return job

    async def _load(self, arm: str, model: str) -> None:
        with self.board.bar(f"Loading and proving '{arm}'", 1) as bar, self._timed(f"load_{arm}"):
            adapter = await self.stack.generator.load_adapter(model)
            if adapter.status != "loaded":
                reason = adapter.error.message if adapter.error else adapter.status
                raise UserError(f"Adapter {model} is not served: {reason}")
            bar.at(1)

    async def _evaluate(self, models: dict[str, str], test_file: str, store: str) -> Experiment:
        specification = self.specification
        ask = ExperimentCreate(
            name=specification.name,
            dataset=DatasetAsk(name=self.dataset.name, file_id=test_file),
            vector_store_id=store,
            arms=[ArmAsk(name=name, model=model) for name, model in models.items()],
            baseline=specification.baseline,
            conditions=specification.conditions,
            metrics=specification.metrics,
            sampling=specification.sampling,
            retrieval=specification.retrieval,
            statistics=specification.statistics,
        )

        async def make() -> str:
            return (await self.stack.evaluator.create_experiment(ask)).id

        inputs = ask.model_dump_json()
        with self._timed("evaluate"):
            experiment_id = await self.memory.once(
                "experiment", inputs, make, self.stack.evaluator.experiment
            )
            experiment = await self._watch_experiment(experiment_id)
        if experiment.status != "completed":
            self.memory.forget("experiment", inputs)
            reason = experiment.error.message if experiment.error else "no reason given"
            raise UserError(f"Experiment {experiment.id} {experiment.status}: {reason}")
        return experiment

    async def _watch_experiment(self, experiment_id: str) -> Experiment:
        experiment = await self.stack.evaluator.experiment(experiment_id)
        with self.board.bar("Evaluating", None) as bar:
            while experiment.status in ("queued", "in_progress"):
                at = experiment.progress
                bar.at(at.done, at.total or None, note=at.phase)
                await asyncio.sleep(POLL_SECONDS)
                experiment = await self.stack.evaluator.experiment(experiment_id)
            at = experiment.progress
            bar.at(at.done, at.total or None, note=experiment.status)
        return experiment

    async def _write(self, experiment: Experiment, out: Path) -> Report:
        evaluator = self.stack.evaluator
        rows = out / "rows.jsonl"
        partial = rows.with_suffix(".partial")
        with partial.open("wb") as target:
            async with evaluator.rows(experiment.id) as blocks:
                async for block in blocks:
                    target.write(block)
        partial.replace(rows)
        report = await evaluator.report(experiment.id)
        report.rows = rows.name
        report.timings |= {name: round(seconds, 3) for name, seconds in self.timings.items()}
        report.timings["total"] = round(time.monotonic() - self.started, 3)
        (out / "report.json").write_text(report.model_dump_json(indent=2) + "\n")
        for form in ("md", "html"):
            (out / f"report.{form}").write_text(
                await evaluator.rendered_report(experiment.id, form)
            )
        return report

    def _timed(self, name: str) -> "_Timed":
        return _Timed(self.timings, name)


class _Timed:
    def __init__(self, timings: dict[str, float], name: str) -> None:
        self._timings = timings
        self._name = name

    def __enter__(self) -> None:
        self._started = time.monotonic()

    def __exit__(self, *_: Any) -> None:
        self._timings[self._name] = time.monotonic() - self._started


def with_store(tune: SupervisedHyperparameters, store: str, k: int) -> SupervisedHyperparameters:
    """Have recipe ``rag`` read ``k`` passages of ``store``, as the experiment will, by default."""
    if tune.recipe == "qa" or tune.retrieval is not None:
        return tune
    return tune.model_copy(
        update={"retrieval": Retrieval(vector_store_id=store, max_num_results=k)}
    )


def start_over(out: Path) -> None:
    """Forget an earlier run in ``out``: its reports and its memory."""
    for name in ("state.json", "report.json", "report.md", "report.html", "rows.jsonl"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "data", ignore_errors=True)
