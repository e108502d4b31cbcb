"""What the training loop does besides training: it reports, pauses, and keeps checkpoints."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import TrainerCallback

from services.trainer.training.checkpoints import (
    checkpoint,
    complete,
    keep_adapter,
    kept,
    kept_steps,
)
from services.trainer.training.config import RunFolder
from services.trainer.training.progress import Pace, Reporter, StepMetrics, measured

CHECKPOINT_SECONDS = 600.0
WORTH = 50.0
"""How many times as long as the last checkpoint took to write the training goes on before the steps
make another due: they cost a run a fiftieth of its time, however short it is."""


class Diverged(Exception):
    """The loss is no number any more."""


class Reporting(TrainerCallback):  # type: ignore[misc]
    """Tells the worker every step."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._pace = Pace()

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        self._pace.start(state.global_step)

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        logs = logs or {}
        if not any(name in logs for name in ("loss", "eval_loss")):
            return
        loss = logs.get("loss")
        if loss is not None and not math.isfinite(loss):
            raise Diverged(f"Training diverged at step {state.global_step}: the loss is {loss}.")
        norm = logs.get("grad_norm")
        self._reporter.write(
            StepMetrics(
                step=state.global_step,
                total_steps=state.max_steps,
                seconds_left=self._pace.seconds_left(state.global_step, state.max_steps),
                epoch=logs.get("epoch"),
                learning_rate=logs.get("learning_rate"),
                grad_norm=norm if norm is None or math.isfinite(norm) else None,
                trained_tokens=int(state.num_input_tokens_seen),
                **measured(logs),
            )
        )


class Pausing(TrainerCallback):  # type: ignore[misc]
    """Ends the training after a whole step, with a checkpoint, once ``asked`` is there.

    A file and no signal: it reaches every process on every host that shares the folder, whatever
    the launcher puts between, and is not lost on a process that is still starting.
    """

    def __init__(self, asked: Path) -> None:
        self._asked = asked
        self.paused = False

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step < state.max_steps and agreed(self._asked.exists, args.device):
            self.paused = True
            control.should_save = control.should_training_stop = True


def agreed(question: Callable[[], bool], device: torch.device) -> bool:
    """The main process's answer, in every process: all must save and stop after the same step."""
    state = PartialState()
    answer = state.is_main_process and question()
    if state.num_processes == 1:
        return answer
    return bool(reduce(torch.tensor(int(answer), device=device), "sum").item())


class Keeping(TrainerCallback):  # type: ignore[misc]
    """Saves when a checkpoint is due, marks it complete, and keeps adapters that were asked for.

    ``every`` steps where they are ``WORTH`` it, and ``CHECKPOINT_SECONDS``, make a checkpoint to go
    on from; ``candidates`` are steps whose adapters stay: the newest ``limit`` of them, and one
    more, because the last may be the run's own. ``seconds`` were trained before this process.
    """

    def __init__(
        self, folder: RunFolder, *, every: int, candidates: range, limit: int, seconds: float
    ) -> None:
        self._folder = folder
        self._every = every
        self._candidates = candidates
        self._limit = limit
        self._before = seconds
        self._began = self._saved = time.monotonic()
        self._saving, self._cost = self._began, 0.0

    @property
    def seconds(self) -> float:
        return self._before + time.monotonic() - self._began

    def on_train_begin(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        self._began = self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        patience = CHECKPOINT_SECONDS
        if step % self._every == 0:
            patience = min(patience, WORTH * self._cost)
        if step in self._candidates or agreed(lambda: self._trained() >= patience, args.device):
            control.should_save = True
        if control.should_save:
            self._saving = time.monotonic()
            # A loss averaged over steps of two processes would be neither's.
            control.should_log = True

    def on_evaluate(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
        self._saving = time.monotonic()  # between the step and its checkpoint

    def _trained(self) -> float:
        """Seconds since the last checkpoint."""
        return time.monotonic() - self._saved

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        PartialState().wait_for_everyone()  # each process has written its random numbers
        self._saved = time.monotonic()
        self._cost = self._saved - self._saving
        if not state.is_world_process_zero:
            return
        step = state.global_step
        complete(Path(args.output_dir), step, self.seconds)
        if step in self._candidates and self._limit:
            keep_adapter(checkpoint(Path(args.output_dir), step), kept(self._folder.kept, step))
            for old in kept_steps(self._folder.kept)[: -self._limit - 1]:
                shutil.rmtree(kept(self._folder.kept, old))
