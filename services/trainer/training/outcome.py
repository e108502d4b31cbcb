"""What a training came to, made into the files that outlive it."""

import resource
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME

from services.common.contracts.hyperparameters import EarlyStopping
from services.trainer.training.artifacts import NothingLearnt, finish_adapter
from services.trainer.training.card import model_card
from services.trainer.training.checkpoints import checkpoint, kept, kept_steps
from services.trainer.training.config import (
    KeptStep,
    Plan,
    Result,
    RunConfig,
    RunFolder,
    write_whole,
)
from services.trainer.training.models import load_as_served
from services.trainer.training.plan import on_gpu
from services.trainer.training.progress import measured


@dataclass(frozen=True)
class Outcome:
    """``state`` is the Trainer's; everything else of it can be freed."""

    plan: Plan
    state: Any
    seconds: float
    compile_seconds: float
    canaries: list[list[int]]


def stopped_early(path: Path, asked: EarlyStopping) -> TrainerState | None:
    """The Trainer's state in a checkpoint, if early stopping had ended the run with it."""
    state = TrainerState.load_from_json(str(path / TRAINER_STATE_NAME))
    told = state.stateful_callbacks["EarlyStoppingCallback"]["attributes"]
    waited = told["early_stopping_patience_counter"]
    return state if waited >= asked.early_stopping_patience else None


def publish(folder: RunFolder, config: RunConfig, outcome: Outcome) -> None:
    """Finish the run's adapter and its candidates, then say so. Done again, it does the same.

    With early stopping the adapter is that of the lowest validation loss, else of the last step.
    """
    state, asked = outcome.state, config.hyperparameters
    memory = peak_memory_bytes()
    if on_gpu():
        torch.cuda.empty_cache()
    base = load_as_served(config)
    step = state.best_global_step if asked.early_stopping else state.global_step

    def finish(number: int, source: Path, target: Path) -> tuple[str, dict[str, float]]:
        metrics = metrics_at(state.log_history, number)
        card = partial(model_card, config, outcome.plan, number, metrics)
        sha256 = finish_adapter(
            source,
            target,
            base,
            base_model=config.base_model,
            canaries=outcome.canaries,
            card=card,
        )
        return sha256, metrics

    sha256, metrics = finish(step, checkpoint(folder.checkpoints, step), folder.adapter)
    shutil.rmtree(folder.candidates, ignore_errors=True)
    candidates: list[KeptStep] = []
    for number in [each for each in kept_steps(folder.kept) if each != step][::-1]:
        if len(candidates) == asked.save_total_limit:
            break
        try:
            _, at = finish(number, kept(folder.kept, number), folder.candidate(number))
        except NothingLearnt:  # in a first step, at a learning rate that is still 0
            shutil.rmtree(folder.candidate(number))
            continue
        candidates.append(KeptStep(step=number, metrics=at))
    result = Result(
        step=step,
        last_step=state.global_step,
        trained_tokens=int(state.num_input_tokens_seen),
        metrics=metrics,
        seconds=round(outcome.seconds, 1),
        compile_seconds=round(outcome.compile_seconds, 1),
        peak_memory_bytes=memory,
        adapter_sha256=sha256,
        candidates=candidates[::-1],
    )
    write_whole(folder.result, result.model_dump_json(indent=2) + "\n")
    shutil.rmtree(folder.kept, ignore_errors=True)  # finished, they are in candidates


def metrics_at(history: list[dict[str, float]], step: int) -> dict[str, float]:
    """The last values logged up to ``step``, and the mean loss over all steps until then."""
    past = [entry for entry in history if entry["step"] <= step]
    losses = [entry["loss"] for entry in past if "loss" in entry]
    metrics = {"mean_train_loss": sum(losses) / len(losses)}
    for entry in past:
        metrics |= measured(entry)
    return metrics


def peak_memory_bytes() -> int:
    if on_gpu():
        return int(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
