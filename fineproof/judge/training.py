"""Makes a judge: examples from training documents, a LoRA on them, and its exam beside the base's.

Each step is remembered, so that the same command goes on where it was stopped.
"""

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from fineproof.data.reading import sha256_of
from fineproof.errors import UserError
from fineproof.experiment.memory import Memory
from fineproof.experiment.progress import Board
from fineproof.experiment.session import Address, base_model
from fineproof.judge.examining import POLL_SECONDS, examine, upload
from services.common.clients.evaluator import EvaluatorClient
from services.common.clients.generator import GeneratorClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.exam import PLAIN_STEPS, Exam, ExamCreate, ExamplesCreate
from services.common.contracts.hyperparameters import (
    LoraHyperparameters,
    Method,
    Supervised,
    SupervisedHyperparameters,
)
from services.common.contracts.judge import JudgeMetric
from services.common.contracts.trainer import FineTuningJob, FineTuningJobCreate

SUFFIX = "judge"


@dataclass(frozen=True)
class Recipe:
    """How a judge is made: questions to train on and to be examined on, and how it learns."""

    metric: JudgeMetric = "accuracy"
    pairs: int = 200
    items: int = 100
    runs: int = 10
    n_epochs: int = 2
    batch_size: int = 8
    learning_rate: float = 5e-4
    rank: int = 16
    seed: int = 0


@dataclass(frozen=True)
class Outcome:
    """The exams of the base and of the judge made from it; ``examples`` is how many it learnt."""

    base: Exam
    judge: Exam
    job_id: str
    examples: int
    recipe: Recipe

    def as_json(self) -> str:
        content = {
            "base": self.base.model_dump(mode="json"),
            "judge": self.judge.model_dump(mode="json"),
            "job_id": self.job_id,
            "examples": self.examples,
            "recipe": asdict(self.recipe),
        }
        return json.dumps(content, indent=2, ensure_ascii=False)


async def make_judge(
    stack: Address, *, train: Path, test: Path, recipe: Recipe, out: Path, board: Board
) -> Outcome:
    """``train`` and ``test`` are item files about different documents; ``out`` exists."""
    async with AsyncExitStack() as exits:
        work = _Making(
            await exits.enter_async_context(TrainerClient.connect(stack.url, stack.key)),
            await exits.enter_async_context(GeneratorClient.connect(stack.url, stack.key)),
            await exits.enter_async_context(EvaluatorClient.connect(stack.url, stack.key)),
            recipe,
            Memory(out),
            board,
        )
        return await work.all(train, test, out / "examples.jsonl")


@dataclass(frozen=True)
class _Making:
    trainer: TrainerClient
    generator: GeneratorClient
    evaluator: EvaluatorClient
    recipe: Recipe
    memory: Memory
    board: Board

    async def all(self, train: Path, test: Path, examples: Path) -> Outcome:
        base = await base_model(self.generator)
        test_file = await self._upload(test, "file-test")
        count = await self._write_examples(train, examples)
        job = await self._trained(base, examples)
        assert job.fine_tuned_model is not None  # a job that succeeded has one
        await self._load(job.fine_tuned_model)
        before = await self._examine(base, test_file, "Examining the base model")
        after = await self._examine(job.fine_tuned_model, test_file, "Examining the judge")
        return Outcome(before, after, job.id, count, self.recipe)

    async def _upload(self, path: Path, step: str) -> str:
        return await self.memory.once(
            step, sha256_of(path), lambda: upload(self.trainer, path), self.trainer.file
        )

    async def _write_examples(self, train: Path, examples: Path) -> int:
        lines = await self.evaluator.judge_examples(
            ExamplesCreate(
                file_id=await self._upload(train, "file-train"),
                metric=self.recipe.metric,
                max_items=self.recipe.pairs,
                seed=self.recipe.seed,
            )
        )
        await asyncio.to_thread(examples.write_bytes, lines)
        return lines.count(b"\n")

    async def _trained(self, base: str, examples: Path) -> FineTuningJob:
        async def send() -> str:
            return (await self.trainer.upload_file(examples, "fine-tune")).id

        learns = self.recipe
        ask = FineTuningJobCreate(
            model=base,
            training_file=await self.memory.once(
                "file-examples", sha256_of(examples), send, self.trainer.file
            ),
            suffix=SUFFIX,
            seed=learns.seed,
            method=Method(
                supervised=Supervised(
                    hyperparameters=SupervisedHyperparameters(
                        n_epochs=learns.n_epochs,
                        batch_size=learns.batch_size,
                        learning_rate=learns.learning_rate,
                        lora=LoraHyperparameters(r=learns.rank, lora_alpha=2 * learns.rank),
                    )
                )
            ),
        )

        async def submit() -> str:
            return (await self.trainer.create_job(ask)).id

        inputs = ask.model_dump_json()
        job = await self._watched(await self.memory.once("job", inputs, submit, self.trainer.job))
        if job.status != "succeeded":
            self.memory.forget("job", inputs)
            reason = job.error.message if job.error else "no reason given"
            raise UserError(f"Job {job.id} {job.status}: {reason}")
        return job

    async def _watched(self, job_id: str) -> FineTuningJob:
        job = await self.trainer.job(job_id)
        with self.board.bar("Training the judge", None) as bar:
            while job.status in ("validating_files", "queued", "running"):
                bar.at(job.progress.step, job.progress.total_steps, note=job.status)
                await asyncio.sleep(POLL_SECONDS)
                job = await self.trainer.job(job_id)
            bar.at(job.progress.step, job.progress.total_steps, note=job.status)
        return job

    async def _load(self, model: str) -> None:
        with self.board.bar("Loading and proving the judge", 1) as bar:
            adapter = await self.generator.load_adapter(model)
            if adapter.status != "loaded":
                reason = adapter.error.message if adapter.error else adapter.status
                raise UserError(f"Adapter {model} is not served: {reason}")
            bar.at(1)

    async def _examine(self, model: str, test_file: str, title: str) -> Exam:
        metric = self.recipe.metric
        ask = ExamCreate(
            model=model,
            file_id=test_file,
            metrics=[metric],
            steps={metric: PLAIN_STEPS[metric]},
            runs=self.recipe.runs,
            max_items=self.recipe.items,
            seed=self.recipe.seed,
        )
        return await examine(self.evaluator, ask, self.board, title=title)
