"""A run that pauses and goes on, as trackers see it."""

from pathlib import Path

import mlflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from services.trainer.running.launch import tail
from tests.services.trainer.training.conftest import (
    NewRun,
    finish,
    start,
    steps,
    wait_for_step,
)


def test_a_run_that_goes_on_is_one_run_in_mlflow_and_in_tensorboard(
    new_run: NewRun, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    told = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": "fineproof"}
    folder = new_run(examples=20, n_epochs=8, batch_size=2)
    process = start(folder, trackers=told)
    wait_for_step(folder, process, 2)
    process.pause()
    finish(process)
    assert folder.paused.exists(), tail(folder.output)
    process = start(folder, trackers=told)
    finish(process)
    assert folder.result.exists(), tail(folder.output)
    losses = [line.train_loss for line in steps(folder)]

    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("fineproof")
    assert experiment is not None
    [run] = client.search_runs([experiment.experiment_id])
    assert [at.step for at in client.get_metric_history(run.info.run_id, "loss")] == list(
        range(1, len(losses) + 1)
    )
    events = EventAccumulator(str(folder.tensorboard)).Reload()
    assert [at.step for at in events.Scalars("train/loss")] == list(range(1, len(losses) + 1))
