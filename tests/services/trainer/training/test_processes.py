"""One run in two processes: what several GPUs or hosts do, on this machine's CPU."""

import json
import re
from pathlib import Path

import pytest
from accelerate.commands.launch import launch_command_parser

from services.trainer.running.launch import tail
from services.trainer.training.checkpoints import last_checkpoint
from tests.services.trainer.training.conftest import (
    NewRun,
    finish,
    start,
    steps,
    train,
    wait_for_step,
)

# With --cpu accelerate would start one process, or leave it to mpirun; this is its way to several
# GPUs, torchrun's, and the Trainer takes the CPUs.
TWO = ("--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0")
GUIDE = Path(__file__).parents[4] / "docs/guides/fine-tuning.md"
ASKED = {"examples": 32, "batch_size": 8, "n_epochs": 3}


def test_two_processes_take_the_steps_of_one(new_run: NewRun) -> None:
    one, two = new_run("one", **ASKED), new_run("two", **ASKED)
    assert train(one) == 0, tail(one.output)
    assert train(two, TWO) == 0, tail(two.output)
    plan = two.read_plan()
    assert plan is not None
    assert (plan.processes, plan.batch_size, plan.steps) == (2, 8, 12)
    assert [line.step for line in steps(two)] == list(range(1, 13))
    losses = [line.train_loss for line in steps(two)]
    assert losses == pytest.approx([line.train_loss for line in steps(one)], abs=1e-3)


def test_two_processes_pause_after_the_same_step(new_run: NewRun) -> None:
    folder = new_run(n_epochs=50, batch_size=4)
    process = start(folder, TWO)
    wait_for_step(folder, process, 2)
    process.pause()
    assert finish(process) == 0, tail(folder.output)
    assert folder.paused.exists()
    saved = last_checkpoint(folder.checkpoints, sweep=False)
    assert saved is not None
    assert sorted(path.name for path in saved.glob("rng_state*")) == [
        "rng_state_0.pth",
        "rng_state_1.pth",
    ]


def test_the_guide_s_arguments_are_accelerate_s() -> None:
    lists = re.findall(r"`(\[\"--.*?\])` \|", GUIDE.read_text())
    assert len(lists) == 2
    for arguments in map(json.loads, lists):
        known, unknown = launch_command_parser().parse_known_args([*arguments, "script.py"])
        assert known.training_script == "script.py"
        assert not unknown
