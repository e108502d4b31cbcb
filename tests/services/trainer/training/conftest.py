"""Runs of the training process on the tiny model, without a service around them."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from services.common.contracts.hyperparameters import SupervisedHyperparameters
from services.common.prompts import render_messages
from services.trainer.hyperparameters import resolve
from services.trainer.running.launch import TrainingProcess, tail
from services.trainer.training.config import RunConfig, RunFolder, write_whole
from services.trainer.training.progress import Lines, StepMetrics

NewRun = Callable[..., RunFolder]

LAUNCH = ("--cpu", "--num_processes", "1")


def rendered(count: int, *, more: str = "") -> list[dict[str, Any]]:
    """Prompts of unlike lengths, as a run's folder has them; each question ends with ``more``."""
    return [
        {
            "prompt": render_messages(f"What is {n} and {n}?" + " Think." * (n % 7) + more),
            "completion": f"It is {2 * n}." + " Truly." * (n % 3),
        }
        for n in range(count)
    ]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def new_run(tiny_model: Path, tmp_path: Path) -> NewRun:
    """Make a run's folder ready for the training process."""

    def make(
        name: str = "run",
        *,
        examples: int = 20,
        valid: int = 0,
        rows: list[dict[str, Any]] | None = None,
        config: dict[str, Any] | None = None,
        **asked: Any,
    ) -> RunFolder:
        folder = RunFolder(tmp_path / name)
        folder.path.mkdir()
        rows = rendered(examples) if rows is None else rows
        write_rows(folder.train, rows)
        if valid:
            write_rows(folder.valid, rendered(valid))
        hyperparameters = SupervisedHyperparameters.model_validate(
            {"learning_rate": 0.01, "lora": {"r": 4}} | asked
        )
        told = {
            "job_id": "ftjob_test",
            "base_model": "tiny-instruct",
            "base_model_path": str(tiny_model),
            "seed": 1,
            "hyperparameters": resolve(hyperparameters, len(rows)),
            "micro_batch_tokens": None,
            "dataset_sha256": "0" * 64,
            "train_sha256": "1" * 64,
            "template_sha256": "2" * 64,
            "versions": {},
        }
        write_whole(
            folder.config, RunConfig.model_validate(told | (config or {})).model_dump_json()
        )
        return folder

    return make


def start(
    folder: RunFolder,
    launch: tuple[str, ...] = LAUNCH,
    trackers: Mapping[str, str] | None = None,
) -> TrainingProcess:
    return TrainingProcess(folder, launch, devices="cpu", offline=True, trackers=trackers or {})


def finish(process: TrainingProcess) -> int:
    while process.is_running:
        time.sleep(0.1)
    return process.close()


def train(folder: RunFolder, launch: tuple[str, ...] = LAUNCH) -> int:
    """Run the process to its end; its exit status."""
    return finish(start(folder, launch))


def steps(folder: RunFolder) -> list[StepMetrics]:
    """One a step, as they came last."""
    kept: dict[int, StepMetrics] = {}
    for line in Lines(folder.metrics).read():
        if isinstance(line, StepMetrics) and line.train_loss is not None:
            kept[line.step] = line
    return [kept[step] for step in sorted(kept)]


def wait_for_step(folder: RunFolder, process: TrainingProcess, step: int) -> None:
    while not any(line.step >= step for line in steps(folder)):
        assert process.is_running, tail(folder.output)
        time.sleep(0.05)
