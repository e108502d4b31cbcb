"""Slots, and how many processes a worker has for them."""

import socket
from pathlib import Path

import celery.signals
import pytest
from pydantic import ValidationError

from services.trainer.running.launch import ALL_DEVICES, default_arguments, environment
from services.trainer.running.scheduling import devices, slots
from services.trainer.settings import TrainerSettings
from services.trainer.worker import create_worker

SIGNALS = (
    "setup_logging",
    "worker_init",
    "worker_process_init",
    "worker_ready",
    "worker_shutting_down",
)


@pytest.fixture
def settings() -> TrainerSettings:
    return TrainerSettings(
        mode="local",
        database_url="postgresql+psycopg://nowhere",
        storage_url="memory://store",
        base_models={},
        devices=("0", "2,3"),
    )


def test_a_worker_has_a_process_for_each_slot_and_one_to_validate(
    settings: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in SIGNALS:
        # One that is only built must not answer to Celery's signals in this process.
        monkeypatch.setattr(getattr(celery.signals, name), "receivers", [])
    assert create_worker(settings).conf.worker_concurrency == 3


def test_a_slot_is_named_by_its_host_and_devices(settings: TrainerSettings) -> None:
    host = socket.gethostname()
    assert slots(settings) == [f"{host}:0", f"{host}:2,3"]


@pytest.mark.skipif(Path("/dev/nvidiactl").exists(), reason="there is a GPU")
def test_without_a_gpu_there_is_one_slot_on_the_cpu(settings: TrainerSettings) -> None:
    assert devices(settings.model_copy(update={"devices": None})) == ("cpu",)


@pytest.mark.parametrize("wrong", [[], [""], ["0", "0"]])
def test_slots_that_are_none_or_the_same_are_refused(
    settings: TrainerSettings, wrong: list[str]
) -> None:
    with pytest.raises(ValidationError, match="each slot's devices once"):
        TrainerSettings.model_validate(settings.model_dump() | {"devices": wrong})


def test_a_training_sees_the_devices_of_its_slot_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    seen = {
        slot: environment(slot, {}, offline=False)["CUDA_VISIBLE_DEVICES"]
        for slot in ("cpu", "cpu:1", "2,3", ALL_DEVICES)
    }
    assert seen == {"cpu": "", "cpu:1": "", "2,3": "2,3", ALL_DEVICES: "5"}


def test_two_slots_of_several_gpus_do_not_meet_at_one_port() -> None:
    assert default_arguments("cpu") == ("--cpu", "--num_processes", "1")
    assert default_arguments("0") == ()
    assert default_arguments("2,3") == ("--main_process_port", "0")
