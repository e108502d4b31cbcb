"""When a run saves, without a run."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import PartialState
from transformers import TrainerControl

from services.trainer.training import callbacks
from services.trainer.training.callbacks import CHECKPOINT_SECONDS, Keeping
from services.trainer.training.config import RunFolder


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=1000.0)
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now.seconds)
    return now


def steps_saved(
    folder: Path,
    clock: Any,
    keeping: Keeping,
    step_seconds: list[float],
    *,
    saving: float = 0,
    evaluating: float = 0,
) -> list[int]:
    PartialState(cpu=True)
    args = SimpleNamespace(device=torch.device("cpu"), output_dir=str(folder))
    keeping.on_train_begin(args, None, None)
    saved = []
    for step, seconds in enumerate(step_seconds, start=1):
        clock.seconds += seconds
        state = SimpleNamespace(global_step=step, max_steps=999, is_world_process_zero=True)
        control = TrainerControl()
        keeping.on_step_end(args, state, control)
        assert control.should_log == control.should_save
        if control.should_save:
            clock.seconds += evaluating
            keeping.on_evaluate(args, state, control)
            clock.seconds += saving
            (folder / f"checkpoint-{step}").mkdir()
            keeping.on_save(args, state, control)
            saved.append(step)
    return saved


def test_a_checkpoint_is_due_by_steps_for_candidates_and_after_ten_minutes(
    tmp_path: Path, clock: Any
) -> None:
    keeping = Keeping(
        RunFolder(tmp_path), every=10, candidates=range(7, 30, 7), limit=0, seconds=5.0
    )
    step_seconds = [0, 0, CHECKPOINT_SECONDS] + 17 * [0.0]
    assert steps_saved(tmp_path, clock, keeping, step_seconds) == [3, 7, 10, 14, 20]
    assert keeping.seconds == 5.0 + CHECKPOINT_SECONDS
    assert (tmp_path / "checkpoint-20" / "complete").read_text() == "605.0"


@pytest.mark.parametrize(
    ("saving", "saved"), [(0.25, [2, 16, 30, 44, 58]), (0.5, [2, 28, 54]), (40.0, [2])]
)
def test_checkpoints_that_are_slow_to_write_are_further_apart(
    tmp_path: Path, clock: Any, saving: float, saved: list[int]
) -> None:
    keeping = Keeping(RunFolder(tmp_path), every=2, candidates=range(0), limit=0, seconds=0.0)
    found = steps_saved(tmp_path, clock, keeping, 60 * [1.0], saving=saving, evaluating=100)
    assert found == saved


def test_no_checkpoint_is_so_slow_to_write_that_the_next_waits_more_than_ten_minutes(
    tmp_path: Path, clock: Any
) -> None:
    keeping = Keeping(RunFolder(tmp_path), every=2, candidates=range(0), limit=0, seconds=0.0)
    found = steps_saved(tmp_path, clock, keeping, 8 * [300.0], saving=60)
    assert found == [2, 4, 6, 8]
