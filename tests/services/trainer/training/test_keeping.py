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


def test_a_checkpoint_is_due_by_steps_for_candidates_and_after_ten_minutes(
    tmp_path: Path, clock: Any
) -> None:
    PartialState(cpu=True)
    args = SimpleNamespace(device=torch.device("cpu"), output_dir=str(tmp_path))
    keeping = Keeping(
        RunFolder(tmp_path), every=10, candidates=range(7, 30, 7), limit=0, seconds=5.0
    )
    keeping.on_train_begin(args, None, None)
    saved = []
    for step in range(1, 21):
        if step == 3:
            clock.seconds += CHECKPOINT_SECONDS
        state = SimpleNamespace(global_step=step, max_steps=30, is_world_process_zero=True)
        control = TrainerControl()
        keeping.on_step_end(args, state, control)
        assert control.should_log == control.should_save
        if control.should_save:
            (tmp_path / f"checkpoint-{step}").mkdir()
            keeping.on_save(args, state, control)
            saved.append(step)
    assert saved == [3, 7, 10, 14, 20]
    assert keeping.seconds == 5.0 + CHECKPOINT_SECONDS
    assert (tmp_path / "checkpoint-20" / "complete").read_text() == "605.0"
