"""The commands of docs/guides/studies.md are taken as they stand there."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fineproof.cli import app
from fineproof.experiment.session import Wanted
from fineproof.study import cells, commands
from fineproof.study.cells import Cell

ROOT = Path(__file__).parents[3]
COMMANDS = re.findall(
    r"^fineproof (study .+)$", (ROOT / "docs" / "guides" / "studies.md").read_text(), re.MULTILINE
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_guide_can_be_pasted(
    command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    told: list[object] = []

    def wanted(asked: list[str]) -> list[Wanted]:
        return [Wanted(name, name) for name in asked or ["served"]]

    def run(planned: list[Cell], *_: object, **__: object) -> None:
        told.extend(cell.out for cell in planned)

    monkeypatch.setattr("fineproof.experiment.session.wanted_models", wanted)
    monkeypatch.setattr(cells, "run_cells", run)
    monkeypatch.setattr(commands, "_report", lambda runs, *_, **__: told.append(runs))
    done = CliRunner().invoke(app, shlex.split(command))
    assert done.exit_code == 0, done.output
    if command.startswith("study run"):
        assert told.pop() == told
        assert len(told) == command.count("--data") * max(1, command.count("--model"))
    else:
        assert told


def test_the_guide_has_both_commands() -> None:
    assert {command.split()[1] for command in COMMANDS} == {"run", "report"}
