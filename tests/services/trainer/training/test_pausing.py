"""A training process asked to pause, and gone on with."""

from services.trainer.running.launch import tail
from services.trainer.training.checkpoints import last_checkpoint
from tests.services.trainer.training.conftest import (
    NewRun,
    finish,
    start,
    steps,
    wait_for_step,
)


def test_a_paused_run_ends_after_a_whole_step_and_goes_on_from_it(new_run: NewRun) -> None:
    folder = new_run(n_epochs=40, batch_size=2)
    process = start(folder)
    wait_for_step(folder, process, 3)
    process.pause()
    assert finish(process) == 0, tail(folder.output)

    assert folder.paused.exists()
    assert not folder.result.exists()
    assert not folder.failure.exists()
    done = [line.step for line in steps(folder)]
    assert done == list(range(1, done[-1] + 1))
    assert 3 <= done[-1] < 400
    saved = last_checkpoint(folder.checkpoints, sweep=False)
    assert saved == folder.checkpoints / f"checkpoint-{done[-1]}"

    process = start(folder)
    assert not folder.paused.exists()
    wait_for_step(folder, process, done[-1] + 1)
    process.close()
    lines = [line for line in folder.metrics.read_text().splitlines() if '"metrics"' in line]
    assert len(lines) == len(steps(folder))  # no step was done twice


def test_a_run_asked_to_pause_in_its_last_step_finishes(new_run: NewRun) -> None:
    folder = new_run(examples=8, n_epochs=1, batch_size=8)
    process = start(folder)
    process.pause()
    assert finish(process) == 0, tail(folder.output)
    assert folder.result.exists()
    assert not folder.paused.exists()
