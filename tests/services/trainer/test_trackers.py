"""Jobs whose metrics go to trackers: local ones, written by their own libraries."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import openai
import pytest
from pydantic import SecretStr
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from services.trainer.running.attempt import Workshop
from services.trainer.running.launch import environment
from services.trainer.trackers import check_integrations
from services.trainer.trackers import environment as tracker_environment
from tests.services.trainer.conftest import BASE, fine_tune, messages, pairs

WANDB: dict[str, Any] = {"type": "wandb", "wandb": {"project": "tuning", "tags": ["a", "b"]}}
QUICK = {"n_epochs": 1, "learning_rate": 0.01, "lora": {"r": 4}}


def create(client: openai.OpenAI, file_id: str, **more: Any) -> str:
    return client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file_id,
        seed=1,
        method={"type": "supervised", "supervised": {"hyperparameters": QUICK}},  # type: ignore[typeddict-item]
        **more,
    ).id


def told(client: openai.OpenAI, job_id: str) -> list[float]:
    """Training losses as the job's events say."""
    events = client.fine_tuning.jobs.list_events(job_id, limit=100)
    data = [event.data for event in events if event.type == "metrics"][::-1]
    return [step["train_loss"] for step in data]  # type: ignore[index]


def test_a_job_is_reported_to_tensorboard_mlflow_and_weights_and_biases(
    client: openai.OpenAI,
    upload: Callable[..., str],
    workshop: Workshop,
    tmp_path: Path,
    settings: Any,
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    shop = replace(
        workshop,
        settings=settings.model_copy(update={"mlflow_tracking_uri": uri}),
    )
    job_id = create(client, upload(pairs(16)), integrations=[WANDB])
    fine_tune(shop, job_id)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "succeeded", messages(client, job_id)
    losses = told(client, job_id)
    assert len(losses) == 2

    [kept] = (tmp_path / "artifacts/jobs" / job_id / "tensorboard").glob("events.*")
    events = EventAccumulator(str(kept)).Reload()
    assert [point.value for point in events.Scalars("train/loss")] == pytest.approx(losses)

    runs = mlflow.MlflowClient(uri)
    experiment = runs.get_experiment_by_name("fineproof")
    assert experiment is not None
    [run] = runs.search_runs([experiment.experiment_id])
    assert run.data.tags["fineproof.job"] == job_id
    history = runs.get_metric_history(run.info.run_id, "loss")
    assert [point.value for point in history] == pytest.approx(losses)

    [record] = (shop.settings.work_dir / job_id / "wandb").glob(f"offline-run-*/run-{job_id}.wandb")
    assert b"train/loss" in record.read_bytes()


def test_a_tracker_that_fails_is_left_out_and_said(
    client: openai.OpenAI, upload: Callable[..., str], workshop: Workshop
) -> None:
    settings = workshop.settings.model_copy(
        update={"mlflow_tracking_uri": "http://127.0.0.1:9"}  # the discard port
    )
    job_id = create(client, upload(pairs(10)))
    fine_tune(replace(workshop, settings=settings), job_id)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "succeeded"
    [said] = [message for message in messages(client, job_id) if "MLflow" in message]
    assert said.startswith("MLflow failed (")
    assert said.endswith("; the training goes on without it.")


def test_an_integration_without_the_operator_s_key_is_refused(
    client: openai.OpenAI, upload: Callable[..., str], settings: Any
) -> None:
    settings.wandb_mode = "online"  # the same object that the service under test holds
    with pytest.raises(openai.BadRequestError, match="FINEPROOF_TRAINER_WANDB_API_KEY"):
        create(client, upload(pairs(10)), integrations=[WANDB])


def test_the_training_process_learns_a_tracker_s_key_only_where_it_is_used(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from services.trainer.models import Job

    monkeypatch.setenv("WANDB_API_KEY", "of-the-shell")
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "of-the-shell")
    keyed = settings.model_copy(update={"wandb_api_key": SecretStr("of-the-operator")})
    plain = Job(id="ftjob_1", model=BASE, integrations=[])
    asking = Job(
        id="ftjob_1",
        model=BASE,
        integrations=[{"type": "wandb", "wandb": {"project": "p", "tags": [], "entity": None}}],
    )
    bare = environment("cpu", tracker_environment(keyed, plain), offline=True)
    assert not [name for name in bare if name.startswith(("WANDB_", "MLFLOW_", "FINEPROOF_"))]
    handed = environment("cpu", tracker_environment(keyed, asking), offline=True)
    assert handed["WANDB_API_KEY"] == "of-the-operator"
    assert "MLFLOW_TRACKING_TOKEN" not in handed
    check_integrations(keyed, asking.integrations)
