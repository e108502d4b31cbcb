"""The command line as a person meets it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def fineproof(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fineproof.cli", *arguments],
        env={**os.environ, "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
    )


def test_help_names_every_command() -> None:
    told = fineproof("--help").stdout
    for command in (
        "demo",
        "compare",
        "tune",
        "ask",
        "up",
        "down",
        "status",
        "logs",
        "models",
        "experiment",
        "study",
        "judge",
        "alias",
    ):
        assert f" {command} " in told


@pytest.mark.parametrize("command", ["up", "down", "status", "logs", "demo"])
def test_every_command_explains_itself(command: str) -> None:
    done = fineproof(command, "--help")
    assert done.returncode == 0
    assert f"fineproof.cli {command}" in done.stdout


def test_help_answers_without_the_heavy_packages() -> None:
    code = "import sys, fineproof.cli; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    heavy = {"torch", "transformers", "vllm", "celery", "sqlalchemy", "httpx", "pydantic"}
    assert "typer" in loaded.split()
    assert heavy & set(loaded.split()) == set()


def test_status_of_nothing_is_down(tmp_path: Path) -> None:
    told = json.loads(fineproof("status", "--json", FINEPROOF_HOME=str(tmp_path)).stdout)
    assert told["state"] == "down"
    assert told["processes"] == []
    assert told["url"] == "http://127.0.0.1:8000"
    assert not list(tmp_path.iterdir())


def test_a_mistake_is_one_sentence_and_no_traceback(tmp_path: Path) -> None:
    done = fineproof("up", FINEPROOF_PORT="eighty", FINEPROOF_HOME=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("fineproof: FINEPROOF_PORT is 'eighty'")
    assert len(done.stderr.splitlines()) == 1


def test_an_unknown_model_stops_up_before_anything_starts(tmp_path: Path) -> None:
    home = {"FINEPROOF_HOME": str(tmp_path), "FINEPROOF_PORT": "18700"}
    done = fineproof("up", FINEPROOF_MODEL="no-such-model", **home)
    assert done.returncode == 1
    assert "There is no model 'no-such-model'" in done.stderr
    assert not (tmp_path / "logs").exists()


def test_logs_before_any_up_says_where_they_come_from(tmp_path: Path) -> None:
    done = fineproof("logs", FINEPROOF_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "`fineproof up` writes them" in done.stderr


def test_models_list_shows_the_packaged_one(tmp_path: Path) -> None:
    told = fineproof("models", "list", FINEPROOF_HOME=str(tmp_path)).stdout
    assert "smollm2-135m-instruct" in told
    assert " no " in told
