"""A run that was killed and gone on with, beside the same run undisturbed."""

import hashlib
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from torch.utils.data import BatchSampler

from services.trainer.running.launch import TrainingProcess, tail
from services.trainer.training.checkpoints import last_checkpoint, step_of
from services.trainer.training.config import RunFolder
from services.trainer.training.ordering import EpochOrder
from tests.services.trainer.training.conftest import (
    NewRun,
    rendered,
    start,
    steps,
    train,
    wait_for_step,
)

RUN: dict[str, Any] = {
    "examples": 30,
    "valid": 12,
    "n_epochs": 3,
    "batch_size": 4,
    # Other checkpoints wait until they are worth their time. An epoch has 8 steps.
    "save_strategy": "steps",
    "save_steps": 6,
    "lora": {"r": 4, "lora_dropout": 0.3},
    # Two micro-batches a step.
    "config": {"micro_batch_tokens": 130},
}
MERGED: dict[str, Any] = {
    "rows": rendered(30, more=" Think again." * 100),
    "lora": {"r": 4},
    "config": {"micro_batch_tokens": 800},
}
"""Long prompts without dropout: the adapter is merged into the weights at each step."""


def kill(process: TrainingProcess, folder: RunFolder) -> None:
    """End the training itself, as the kernel would, not its launcher."""
    for each in psutil.process_iter(["cmdline"]):
        words = each.info["cmdline"] or ()
        if str(folder.path) in words and "accelerate.commands.launch" not in words:
            os.kill(each.pid, signal.SIGKILL)
    process.close()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.faults
@pytest.mark.parametrize("merged", [False, True])
def test_a_run_killed_in_mid_epoch_goes_on_to_the_same_losses_and_the_same_adapter(
    new_run: NewRun, merged: bool
) -> None:
    asked = RUN | MERGED if merged else RUN
    whole, broken = new_run("whole", **asked), new_run("broken", **asked)
    assert train(whole) == 0, tail(whole.output)
    plan = whole.read_plan()
    assert plan is not None
    assert plan.merged is merged
    assert plan.gradient_accumulation_steps == 2
    assert plan.steps == 24

    process = start(broken)
    wait_for_step(broken, process, 13)
    kill(process, broken)
    assert not broken.result.exists()
    came_from = last_checkpoint(broken.checkpoints, sweep=False)
    assert came_from is not None
    assert 12 <= step_of(came_from) < 24
    assert step_of(came_from) % plan.steps_per_epoch
    assert train(broken) == 0, tail(broken.output)

    told = [line.model_dump(exclude={"seconds_left"}) for line in steps(whole)]
    assert [line["step"] for line in told] == list(range(1, 25))
    assert told == [line.model_dump(exclude={"seconds_left"}) for line in steps(broken)]
    for name in ("adapter_model.safetensors", "adapter_config.json", "canary.json"):
        assert sha256(whole.adapter / name) == sha256(broken.adapter / name)


def test_an_epoch_s_order_needs_nothing_but_seed_and_epoch() -> None:
    lengths = [n % 11 + 1 for n in range(100)]

    def order(epoch: int) -> list[int]:
        return list(EpochOrder(lengths, 8, seed=5, epoch=lambda: epoch))

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == list(range(100))
    batches = BatchSampler(order(1), 8, drop_last=False)
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert sum(spread) / len(spread) < 5
