"""Makes a judge: examples from training documents, a LoRA on them, and its exam beside the base's.

Each step is remembered, so that the same command goes on where it was stopped.
"""

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from fineproof.experiment.memory import Memory
from fineproof.experiment.progress import Board
from fineproof.experiment.session import Address
from fineproof.experiment.stack import Stack, connected, served_base, uploaded
from fineproof.judge.examining import examine
from fineproof.tuning.jobs import make
from services.common.contracts.exam import PLAIN_STEPS, Exam, ExamCreate, ExamplesCreate
from services.common.contracts.hyperparameters import (
    LoraHyperparameters,
    Method,
    Supervised,
    SupervisedHyperparameters,
)
from services.common.contracts.judge import JudgeMetric
from services.common.contracts.trainer import FineTuningJobCreate

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
    async with connected(stack.url, stack.key) as services:
        work = _Making(services, recipe, Memory(out), board)
        return await work.all(train, test, out / "examples.jsonl")


@dataclass(frozen=True)
class _Making:
    stack: Stack
    recipe: Recipe
    memory: Memory
    board: Board

    async def all(self, train: Path, test: Path, examples: Path) -> Outcome:
        base = await served_base(self.stack.generator)
        test_file = await uploaded(self.stack.trainer, test, "evals", self.memory)
        count = await self._write_examples(train, examples)
        learnt = await uploaded(self.stack.trainer, examples, "fine-tune", self.memory)
        made = await make(
            self.stack,
            self._job(base, learnt),
            memory=self.memory,
            board=self.board,
            what="the judge",
        )
        before = await self._examine(base, test_file, "Examining the base model")
        after = await self._examine(made.adapter.id, test_file, "Examining the judge")
        return Outcome(before, after, made.job.id, count, self.recipe)

    async def _write_examples(self, train: Path, examples: Path) -> int:
        lines = await self.stack.evaluator.judge_examples(
            ExamplesCreate(
                file_id=await uploaded(self.stack.trainer, train, "evals", self.memory),
                metric=self.recipe.metric,
                max_items=self.recipe.pairs,
                seed=self.recipe.seed,
            )
        )
        await asyncio.to_thread(examples.write_bytes, lines)
        return lines.count(b"\n")

    def _job(self, base: str, learnt: str) -> FineTuningJobCreate:
        recipe = self.recipe
        return FineTuningJobCreate(
            model=base,
            training_file=learnt,
            suffix=SUFFIX,
            seed=recipe.seed,
            method=Method(
                supervised=Supervised(
                    hyperparameters=SupervisedHyperparameters(
                        n_epochs=recipe.n_epochs,
                        batch_size=recipe.batch_size,
                        learning_rate=recipe.learning_rate,
                        lora=LoraHyperparameters(r=recipe.rank, lora_alpha=2 * recipe.rank),
                    )
                )
            ),
        )

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
        return await examine(self.stack.evaluator, ask, self.board, title=title)
