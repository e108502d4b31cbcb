"""``fineproof compare`` on files of the test's making."""

import gzip
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fineproof.cli import app

Write = Callable[[str, Any], Path]


@dataclass(frozen=True)
class Told:
    """What a run said; ``result`` is its JSON."""

    code: int
    result: dict[str, Any]
    stderr: str


Compare = Callable[..., Told]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write text, bytes, or objects as JSON lines."""

    def written(name: str, content: Any) -> Path:
        path = tmp_path / name
        if isinstance(content, Iterable) and not isinstance(content, str | bytes | dict):
            content = "".join(json.dumps(row) + "\n" for row in content)
        elif isinstance(content, dict):
            content = json.dumps(content)
        data = content.encode() if isinstance(content, str) else content
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return written


@pytest.fixture
def compare(write: Write) -> Compare:
    """``compare(base, tuned, *options)``: files' contents, or paths; always ``--json``."""

    def told(base: Any, tuned: Any, *options: str) -> Told:
        paths = [
            content if isinstance(content, Path) else write(name, content)
            for name, content in (("base.jsonl", base), ("tuned.jsonl", tuned))
        ]
        done = CliRunner().invoke(
            app,
            ["compare", *map(str, paths), *options, "--resamples", "2000", "--json"],
            catch_exceptions=False,
        )
        return Told(done.exit_code, json.loads(done.stdout or "{}"), done.stderr)

    return told
