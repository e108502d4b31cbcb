"""What the stack is made of fits what the services ask for."""

import importlib
from pathlib import Path

import pytest
from pydantic_settings import BaseSettings

from fineproof.local import plan, vllm
from fineproof.models.catalog import Model
from fineproof.settings import Settings


@pytest.fixture
def model(tmp_path: Path) -> Model:
    folder = tmp_path / "models" / "m"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"max_position_embeddings": 2048}')
    return Model(name="m", folder=folder)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, port=9100, model="m")


@pytest.mark.parametrize("service", plan.SERVICES)
def test_each_service_accepts_the_settings_it_is_given(
    service: str, settings: Settings, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(f"services.{service}.settings")
    kind: type[BaseSettings] = getattr(module, f"{service.capitalize()}Settings")
    for name, value in plan.service_environment(service, settings, model).items():
        monkeypatch.setenv(name, value)
    told = kind()
    assert told.mode == "local"  # type: ignore[attr-defined]
    assert "host=" in told.database_url  # type: ignore[attr-defined]
    for peer in plan.SERVICES:
        assert getattr(told, f"{peer}_url", settings.url_of(peer)) == settings.url_of(peer)


def test_what_the_person_has_set_wins(
    settings: Settings, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FINEPROOF_RETRIEVER_EMBEDDING_MODEL", "/my/model")
    told = plan.service_environment("retriever", settings, model)
    assert told["FINEPROOF_RETRIEVER_EMBEDDING_MODEL"] == "/my/model"


def test_the_slowest_starts_at_once_and_the_tables_come_before_the_workers(
    settings: Settings, model: Model
) -> None:
    planned = {program.name: program for program in plan.programs(settings, model)}
    assert planned["vllm"].after == ()
    assert next(iter(planned)) == "vllm"
    for worker in plan.WORKERS:
        assert planned[f"{worker}-worker"].after == (worker,)
    for program in planned.values():
        for needed in program.after:
            assert planned[needed].tier < program.tier


def test_everything_listens_on_the_loopback_only(settings: Settings, model: Model) -> None:
    for program in plan.programs(settings, model):
        line = " ".join(program.argv)
        assert "0.0.0.0" not in line
        if "--port" in program.argv:
            assert "--host 127.0.0.1" in line or "--bind 127.0.0.1" in line


def test_vllm_s_context_is_no_longer_than_the_model_s(model: Model) -> None:
    argv = vllm.command(model, 9105)
    assert argv[argv.index("--max-model-len") + 1] == "2048"
    (model.folder / "config.json").write_text('{"max_position_embeddings": 131072}')
    argv = vllm.command(model, 9105)
    assert argv[argv.index("--max-model-len") + 1] == "4096"


def test_the_generator_is_told_the_limits_that_vllm_starts_with(
    settings: Settings, model: Model
) -> None:
    argv = vllm.command(model, 9105)
    told = plan.service_environment("generator", settings, model)
    for flag, name in (("--max-lora-rank", "MAX_LORA_RANK"), ("--max-cpu-loras", "MAX_CPU_LORAS")):
        assert told[f"FINEPROOF_GENERATOR_{name}"] == argv[argv.index(flag) + 1]


@pytest.mark.parametrize(
    ("available", "told"),
    [({0, 1}, "0-1"), ({3}, "3"), ({0, 1, 2, 5, 7, 8}, "0-2,5,7-8")],
)
def test_cores_are_written_as_vllm_reads_them(available: set[int], told: str) -> None:
    assert vllm.cores(available) == told
