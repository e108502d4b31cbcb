"""The command as a pipeline runs it: a process, its two streams and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fineproof.cli import app
from tests.fineproof.comparison.conftest import Write


def fineproof(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "fineproof.cli", *map(str, arguments)],
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )


def test_a_verdict_is_a_panel_or_json_and_an_exit_code(write: Write) -> None:
    base = write("base.jsonl", [{"id": n, "doc_id": n // 4, "score": 4 + n % 2} for n in range(80)])
    tuned = write("tuned.jsonl", [{"id": n, "doc_id": n // 4, "score": 3} for n in range(80)])
    shown = fineproof("compare", base, tuned)
    assert shown.returncode == 1
    for said in ("HURTS", "−1.5", "20 clusters by doc_id", "80 paired by id", "±0.25"):
        assert said in shown.stdout
    passing = fineproof("compare", base, tuned, "--threshold", "4")
    assert "4; the means are shares that pass it" in passing.stdout
    told = fineproof("compare", base, tuned, "--json")
    assert told.returncode == 1
    assert json.loads(told.stdout)["verdict"] == "HURTS"
    assert told.stderr == ""


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_where_nobody_reads_on_there_is_no_verdict(write: Write, options: tuple[str, ...]) -> None:
    """As in ``fineproof compare … | head -1``: what helps is not to end as what hurts."""
    base = write("base.jsonl", [{"id": n, "score": 3} for n in range(80)])
    tuned = write("tuned.jsonl", [{"id": n, "score": 4 + n % 2} for n in range(80)])
    command = [sys.executable, "-m", "fineproof.cli", "compare", str(base), str(tuned), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 3


@pytest.mark.parametrize(
    "arguments",
    [("compare",), ("compare", "a", "b", "--scor", "x"), ("comprae", "a", "b"), ("--no",)],
)
def test_a_slip_of_the_pen_is_no_verdict(arguments: tuple[str, ...]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 3


def test_a_mistake_of_ours_is_no_verdict(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write("rows.jsonl", [{"id": n, "score": 1} for n in range(9)])
    monkeypatch.setattr("fineproof.comparison.judging.judge", lambda *_: 1 / 0)
    done = CliRunner().invoke(app, ["compare", str(rows), str(rows), "--json"])
    assert done.exit_code == 3
    assert "mistake in fineproof" in json.loads(done.stdout)["error"]
    assert "ZeroDivisionError" in done.stderr


def test_a_package_that_is_missing_is_named(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = write("rows.jsonl", [{"id": n, "score": 1} for n in range(9)])
    monkeypatch.setitem(sys.modules, "fineproof.comparison.judging", None)
    done = CliRunner().invoke(app, ["compare", str(rows), str(rows)])
    assert done.exit_code == 3
    assert "is missing: pip install" in done.stderr


def test_no_letter_keeps_an_answer_from_being_told(write: Write, tmp_path: Path) -> None:
    rows = write("größe.jsonl", [{"id": "\ud800", "score": 1}] * 2)
    arguments = [sys.executable, "-m", "fineproof.cli", "compare", rows, rows, "--json"]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(arguments, env=ascii_only, capture_output=True, text=True)
    assert done.returncode == 3
    assert "line 1 and on line 2" in json.loads(done.stdout)["error"]


def test_help_shows_examples_and_what_the_codes_mean() -> None:
    said = CliRunner().invoke(app, ["compare", "--help"], env={"COLUMNS": "200"}).output
    for words in ("INCONCLUSIVE", "--score scores.accuracy", "lm-eval", "doc_id"):
        assert words in said


def test_judging_imports_nothing_that_a_service_needs(write: Write) -> None:
    rows = write("rows.jsonl", [{"id": n, "score": 1} for n in range(9)])
    code = (
        "import sys\nfrom fineproof.cli import app\n"
        f"try:\n    app(['compare', {str(rows)!r}, {str(rows)!r}, '--json'])\n"
        "except SystemExit as end:\n    print(end.code, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    ended, *loaded = done.stdout.splitlines()[-1].split()
    assert ended == "0"
    assert "services.evaluator.verdict" in loaded
    heavy = {"fastapi", "sqlalchemy", "celery", "torch", "transformers", "httpx", "redis"}
    assert heavy & set(loaded) == set()
