"""What the deployment files say once the tools of the trade have read them."""

import base64
import importlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.common.settings import ServiceSettings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / "docker-compose.gpu.yml"
OUTGOING_FILE = ROOT / "docker-compose.outgoing.yml"
OUTGOING_EXAMPLE = ROOT / "docker" / "outgoing.env.example"
SERVICES = ("retriever", "generator", "trainer", "evaluator")
WORKERS = ("retriever-worker", "trainer-worker", "evaluator-worker")

SECRETS = {
    "POSTGRES_PASSWORD": "a1",
    "REDIS_PASSWORD": "b2",
    "SERVICE_KEY": "c3",
    "API_KEYS": '[{"name":"me","sha256":"' + "0" * 64 + '","scopes":["read","write"]}]',
    "DATABASE_URL": "postgresql+psycopg://fineproof:a1@postgres:5432/fineproof",
    "REDIS_URL": "redis://:b2@redis:6379/0",
    "HF_TOKEN": "",
}
OUTGOING = {
    "FINEPROOF_TRAINER_WEBHOOKS": '[{"url":"https://example.org/hook","secret":"whsec_'
    + base64.b64encode(bytes(24)).decode()
    + '"}]',
    "FINEPROOF_TRAINER_MLFLOW_TRACKING_URI": "https://mlflow.example.org",
    "FINEPROOF_TRAINER_WANDB_API_KEY": "d4",
    "FINEPROOF_TRAINER_HUGGINGFACE_TOKEN": "e5",
}


def program(name: str) -> str:
    """Path of a program; without it the test is skipped, except in CI, where it fails."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not on the PATH"
        if os.environ.get("CI"):
            pytest.fail(f"{message}, and CI must not skip")
        pytest.skip(message)
    return found


def env_file(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def run_compose(environment: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    """``docker-compose config``, with nothing but ``environment`` to fill its variables from."""
    read = [word for file in files or (COMPOSE_FILE,) for word in ("-f", str(file))]
    return subprocess.run(
        [program("docker-compose"), *read, "--env-file", str(environment), "config"],
        env={"PATH": os.environ["PATH"], "HOME": str(environment.parent)},
        capture_output=True,
        text=True,
        check=False,
    )


@cache
def kustomize(folder: str) -> tuple[dict[str, Any], ...]:
    """The objects ``kubectl kustomize`` renders from a folder relative to the repository."""
    finished = subprocess.run(
        [program("kubectl"), "kustomize", str(ROOT / folder)], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    return tuple(yaml.safe_load_all(finished.stdout))


def named(objects: tuple[dict[str, Any], ...], kind: str, name: str) -> dict[str, Any]:
    (found,) = [o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name]
    return found


def pods(objects: tuple[dict[str, Any], ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and pod template of everything that runs."""
    for thing in objects:
        if thing["kind"] in ("Deployment", "StatefulSet", "Job"):
            yield thing["metadata"]["name"], thing["spec"]["template"]


def container(template: dict[str, Any]) -> dict[str, Any]:
    (only,) = template["spec"]["containers"]
    return dict(only)


def container_environment(
    objects: tuple[dict[str, Any], ...], template: dict[str, Any]
) -> dict[str, str]:
    """What a container's process sees, as the kubelet puts it together."""
    this = container(template)
    seen: dict[str, str] = {}
    for source in this.get("envFrom", []):
        if "secretRef" in source:
            assert source["secretRef"] == {"name": "outgoing"}
            seen |= OUTGOING
        else:
            seen |= named(objects, "ConfigMap", source["configMapRef"]["name"])["data"]
    for entry in this.get("env", []):
        if "value" in entry:
            seen[entry["name"]] = expand(entry["value"], seen)
        elif reference := entry["valueFrom"].get("configMapKeyRef"):
            data = named(objects, "ConfigMap", reference["name"])["data"]
            seen[entry["name"]] = data[reference["key"]]
        else:
            reference = entry["valueFrom"]["secretKeyRef"]
            assert reference["name"] == "fineproof"
            seen[entry["name"]] = SECRETS[reference["key"]]
    return seen


def expand(text: str, environment: dict[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does in values and arguments."""
    for name, value in environment.items():
        text = text.replace(f"$({name})", value)
    return text


def settings_class(service: str) -> type[ServiceSettings]:
    module = importlib.import_module(f"services.{service}.settings")
    (found,) = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, ServiceSettings)
        and value is not ServiceSettings
    ]
    return found


def peers(settings: ServiceSettings) -> dict[str, str]:
    """The base URL of each other service that this one asks."""
    told = settings.model_dump()
    return {peer: told[f"{peer}_url"] for peer in SERVICES if f"{peer}_url" in told}


def load_settings(
    service: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> ServiceSettings:
    """The service's own settings as it reads them: a missing or unknown name raises."""
    for name in [name for name in os.environ if name.startswith("FINEPROOF_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        if name.startswith("FINEPROOF_"):
            monkeypatch.setenv(name, value)
    foreign = [
        name
        for name in environment
        if name.startswith("FINEPROOF_") and not name.startswith(f"FINEPROOF_{service.upper()}_")
    ]
    assert foreign == [], "settings of another service"
    return settings_class(service)()  # type: ignore[call-arg]  # they come from the environment
