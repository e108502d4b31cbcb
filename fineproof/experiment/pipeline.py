"""The steps of an experiment, each remembered, so that a second run goes on where one stopped."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fineproof.errors import UserError
from fineproof.experiment.dataset import Dataset
from fineproof.experiment.memory import Memory
from fineproof.experiment.progress import Bar, Board
from fineproof.experiment.specification import Specification
from fineproof.experiment.stack import Stack, connected, ingested, served_base, uploaded
from services.common.contracts.arms import ArmAsk
from services.common.contracts.budget import Estimate
from services.common.contracts.evaluator import (
    DatasetAsk,
    Experiment,
    ExperimentCreate,
    ExperimentProgress,
    Report,
)
from services.common.contracts.judge import JudgeAsk

PHASES = {
    "queued": "Waiting for a worker",
    "tuning": "Tuning the arms",
    "proving": "Loading and proving adapters",
    "retrieving": "Retrieving passages",
    "answering": "Asking every arm",
    "forgetting": "Asking general questions",
    "examining": "Examining the judge",
    "judging": "Judging the answers",
    "measuring": "Measuring",
}


async def run(
    specification: Specification,
    dataset: Dataset,
    *,
    url: str,
    key: str | None,
    out: Path,
    board: Board,
    memory: Memory | None = None,
) -> Report:
    """Ingest, have the arms made and measured; write ``report.json``, ``.md``, ``.html`` and
    ``rows.jsonl``.

    ``out`` exists, and is where the run remembers what it has made, unless it shares the ``memory``
    of others: they then share a vector store and files, too. Raises :class:`UserError` when a step
    fails for good, and the typed errors of :mod:`services.common.errors` when a service refuses or
    cannot be reached.
    """
    memory = memory or Memory(out)
    async with connected(url, key) as stack:
        return await _Run(specification, dataset, stack, memory, board).to_report(out)


async def estimate(
    specification: Specification,
    dataset: Dataset,
    *,
    url: str,
    key: str | None,
    out: Path,
    board: Board,
) -> Estimate:
    """What :func:`run` will take. The data is put where ``run`` finds it again; no model is asked
    and nothing is tuned. Raises as ``run`` does."""
    async with connected(url, key) as stack:
        return await _Run(specification, dataset, stack, Memory(out), board).to_estimate()


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
        return await self._write(await self._evaluate(await self._prepared()), out)

    async def to_estimate(self) -> Estimate:
        return await self.stack.evaluator.estimate(await self._prepared())

    async def _prepared(self) -> ExperimentCreate:
        """What the evaluator is asked, once the data is where it finds it."""
        base = self.specification.base_model or await served_base(self.stack.generator)
        with self._timed("ingest"):
            store = await ingested(
                self.stack.retriever,
                self.dataset.corpus,
                sha256=self.dataset.corpus_sha256,
                name=self.dataset.name,
                memory=self.memory,
                board=self.board,
            )
        train = await uploaded(self.stack.trainer, self.dataset.train, "fine-tune", self.memory)
        test = await uploaded(self.stack.trainer, self.dataset.test, "evals", self.memory)
        arms = [arm.asked(base, train) for arm in self.specification.arms]
        return self._ask(arms, test, store)

    def _ask(self, arms: list[ArmAsk], test_file: str, store: str) -> ExperimentCreate:
        specification = self.specification
        return ExperimentCreate(
            name=specification.name,
            dataset=DatasetAsk(name=self.dataset.name, file_id=test_file),
            vector_store_id=store,
            arms=arms,
            baseline=specification.baseline,
            conditions=specification.conditions,
            metrics=specification.metrics,
            primary_conditions=specification.primary_conditions,
            sampling=specification.sampling,
            retrieval=specification.retrieval,
            statistics=specification.statistics,
            judge=_judge(specification, arms),
            forgetting=specification.forgetting,
            budget=specification.budget,
            prices=specification.prices,
        )

    async def _evaluate(self, ask: ExperimentCreate) -> Experiment:
        async def make() -> str:
            return (await self.stack.evaluator.create_experiment(ask)).id

        inputs = ask.model_dump_json()
        with self._timed("evaluate"):
            experiment_id = await self.memory.once(
                "experiment", inputs, make, self.stack.evaluator.experiment
            )
            experiment = await self._watch(experiment_id)
        if experiment.status != "completed":
            error = experiment.error
            reason = error.message if error else "no reason given"
            if error is not None and error.code == "budget_exceeded":
                reason += f" `fineproof experiment resume {experiment.id}` does so."
            else:
                self.memory.forget("experiment", inputs)
            raise UserError(f"Experiment {experiment.id} {experiment.status}: {reason}")
        return experiment

    async def _watch(self, experiment_id: str) -> Experiment:
        """A bar for each phase, as the evaluator tells of it, until the experiment is over."""
        evaluator = self.stack.evaluator
        experiment = await evaluator.experiment(experiment_id)
        if experiment.status not in ("queued", "in_progress"):
            return experiment
        with ExitStack() as shown:
            bar: Bar | None = None
            async for event in evaluator.watch(experiment_id):
                if event.type == "warning":
                    self.board.say(f"  {event.message} ({event.data['count']} so far)")
                if event.type not in ("phase", "progress"):
                    continue
                at = ExperimentProgress.model_validate(event.data["progress"])
                if event.type == "phase":
                    shown.close()
                    title = PHASES.get(at.phase, at.phase.capitalize())
                    bar = shown.enter_context(self.board.bar(title, None))
                if bar is not None:
                    bar.at(at.done, at.total or None)
        return await evaluator.experiment(experiment_id)

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


def _judge(specification: Specification, arms: list[ArmAsk]) -> JudgeAsk | None:
    judge = specification.judge
    if judge is None:
        return None
    model = next((arm.model for arm in arms if arm.name == judge.model), None)
    return judge.model_copy(update={"model": model or judge.model})


def start_over(out: Path) -> None:
    """Forget an earlier run in ``out``: its reports and its memory."""
    for name in ("state.json", "report.json", "report.md", "report.html", "rows.jsonl"):
        (out / name).unlink(missing_ok=True)
    shutil.rmtree(out / "data", ignore_errors=True)
