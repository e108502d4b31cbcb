"""docker-compose.gpu.yml, as docker-compose itself reads it."""

import re
import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import free_port
from tests.deploy.rendered import (
    COMPOSE_FILE,
    ROOT,
    SECRETS,
    SERVICES,
    WORKERS,
    env_file,
    load_settings,
    program,
    run_compose,
)

EXAMPLE = ROOT / "docker" / ".env.example"


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    filled = tmp_path_factory.mktemp("compose") / ".env"
    names = env_file(EXAMPLE)
    secrets = {name: value for name, value in SECRETS.items() if name in names}
    filled.write_text("".join(f"{name}={value}\n" for name, value in (names | secrets).items()))
    finished = run_compose(filled)
    assert finished.returncode == 0, finished.stderr
    return dict(yaml.safe_load(finished.stdout))


def test_it_runs_the_processes_of_the_local_stack_and_fetches_models(
    compose: dict[str, Any],
) -> None:
    local = {"front-door", "vllm", "postgres", "redis", *SERVICES, *WORKERS}
    assert set(compose["services"]) == local | {"models"}


def test_an_example_copied_without_secrets_refuses_to_start() -> None:
    finished = run_compose(EXAMPLE)
    assert finished.returncode != 0
    assert "docker/.env.example" in finished.stderr


def test_the_example_explains_every_variable_and_no_other() -> None:
    text = re.sub(r"\$\$\w+", "", COMPOSE_FILE.read_text())
    assert set(re.findall(r"\$\{(\w+)", text)) == set(env_file(EXAMPLE))


def test_secrets_have_no_default() -> None:
    text = COMPOSE_FILE.read_text()
    for secret in ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "SERVICE_KEY", "API_KEYS"):
        assert f"${{{secret}:?" in text
        assert f"${{{secret}:-" not in text


def test_everything_comes_back_and_says_how_it_is(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        if name == "models":  # ends when it is done; the others wait for that
            assert service["restart"] == "on-failure"
            continue
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_only_the_front_door_publishes_ports_and_on_the_loopback_by_default(
    compose: dict[str, Any],
) -> None:
    published = {name for name, service in compose["services"].items() if service.get("ports")}
    assert published == {"front-door"}
    assert all(p.startswith("127.0.0.1:") for p in compose["services"]["front-door"]["ports"])


def test_vllm_shares_a_network_with_the_generator_only(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services["vllm"]["networks"]) == {"model"}
    on_model = {name for name, service in services.items() if "model" in service["networks"]}
    assert on_model == {"vllm", "generator"}


def test_databases_and_vllm_have_no_way_out(compose: dict[str, Any]) -> None:
    internal = {name for name, net in compose["networks"].items() if (net or {}).get("internal")}
    assert internal == {"back", "model"}
    for name in ("postgres", "redis", "vllm", *WORKERS):
        assert set(compose["services"][name]["networks"]) <= internal, name


def test_nothing_runs_as_root_or_writes_to_its_root(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        if not service["image"].startswith("fineproof/"):  # ours say USER in the Dockerfile
            assert int(service["user"].split(":")[0]) > 0, name


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        tag = service["image"].partition(":")[2]
        assert re.search(r"\d+\.\d+\.\d+", tag), f"{name}: {service['image']}"


def test_gpus_are_reserved_for_vllm_and_training(compose: dict[str, Any]) -> None:
    reserved = {
        name
        for name, service in compose["services"].items()
        for device in service.get("deploy", {})
        .get("resources", {})
        .get("reservations", {})
        .get("devices", [])
        if device["capabilities"] == ["gpu"]
    }
    assert reserved == {"vllm", "trainer-worker"}


def test_vllm_reads_the_adapters_the_generator_writes(compose: dict[str, Any]) -> None:
    assert "adapters:/adapters:ro" in compose["services"]["vllm"]["volumes"]
    assert "adapters:/adapters:rw" in compose["services"]["generator"]["volumes"]
    generator = compose["services"]["generator"]["environment"]
    assert generator["FINEPROOF_GENERATOR_ADAPTER_CACHE"] == "/adapters"


def test_vllm_loads_adapters_at_run_time_of_the_rank_the_generator_accepts(
    compose: dict[str, Any],
) -> None:
    vllm = compose["services"]["vllm"]
    assert vllm["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert "--enable-lora" in vllm["command"]
    rank = compose["services"]["generator"]["environment"]["FINEPROOF_GENERATOR_MAX_LORA_RANK"]
    assert f"--max-lora-rank={rank}" in vllm["command"]


@pytest.mark.parametrize("process", [*SERVICES, *WORKERS])
def test_each_process_starts_from_its_environment(
    process: str, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = process.removesuffix("-worker")
    environment = compose["services"][process]["environment"]
    settings = load_settings(service, environment, monkeypatch)
    assert settings.mode == "production"
    assert settings.database_url.endswith("@postgres:5432/fineproof")


@pytest.mark.parametrize("service", ["retriever", "trainer", "evaluator"])
def test_a_worker_is_told_what_its_service_is_told(service: str, compose: dict[str, Any]) -> None:
    told = compose["services"][service]["environment"]
    assert compose["services"][f"{service}-worker"]["environment"] == told


def test_redis_starts_as_written_and_asks_for_its_password(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    program("redis-server")
    shell, flag, script = shlex.split(compose["services"]["redis"]["command"].replace("$$", "$"))
    port = free_port()
    script = script.replace("/tmp", str(tmp_path)) + f" --port {port} --bind 127.0.0.1"
    environment = {**compose["services"]["redis"]["environment"], "PATH": "/usr/bin:/bin"}
    server = subprocess.Popen([shell, flag, script], env=environment, stdout=subprocess.DEVNULL)
    try:
        ping = [program("redis-cli"), "-p", str(port), "ping"]
        answer = ""
        for _ in range(50):
            answer = subprocess.run(ping, env=environment, capture_output=True, text=True).stdout
            if answer:
                break
            time.sleep(0.1)
        assert answer == "PONG\n"
        stranger = subprocess.run(ping, env={}, capture_output=True, text=True)
        assert "NOAUTH" in stranger.stdout + stranger.stderr
    finally:
        server.terminate()
        assert server.wait(10) == 0
