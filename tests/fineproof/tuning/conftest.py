"""A folder of data, and ``fineproof tune`` on it before whatever answers at an address."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fineproof.cli import app


@dataclass(frozen=True)
class Told:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


Tune = Callable[..., Told]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve training pairs, and two questions about each of fourteen other documents."""
    folder = tmp_path / "handbook"
    folder.mkdir()
    numbers = {"train": range(12), "test": range(100, 128)}
    for name, some in numbers.items():
        write(
            folder / f"{name}.jsonl",
            [
                {
                    "id": f"q{n}",
                    "question": f"What is it's {n}?",
                    "answer": f"It {n}",
                    "evidence_ids": [f"p{n // 2}"],
                }
                for n in some
            ],
        )
    write(
        folder / "corpus.jsonl",
        [
            {"id": f"p{n // 2}", "text": f"It {n}.", "doc_id": f"d{n // 2}"}
            for n in range(0, 128, 2)
        ],
    )
    return folder


@pytest.fixture
def tune(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tune:
    """``tune(*options)`` on that folder, into ``tmp_path / "out"``."""
    monkeypatch.setenv("COLUMNS", "160")
    fixed = ["tune", "--data", str(data), "--out", str(tmp_path / "out")]

    def told(*options: str) -> Told:
        done = CliRunner().invoke(app, [*fixed, *options])
        return Told(done.exit_code, done.stdout, done.stderr)

    return told
