"""The end of one log, or of all of them side by side, and what comes after."""

import time
from collections.abc import Iterator
from pathlib import Path

from fineproof.errors import UserError
from fineproof.local.supervisor import last_lines


def choose(folder: Path, name: str | None) -> list[Path]:
    """The log of one process, or every log. Raises ``UserError`` when there is none."""
    logs = sorted(folder.glob("*.log"))
    if not logs:
        raise UserError(f"There are no logs in {folder}; `fineproof up` writes them.")
    if name is None:
        return logs
    if folder / f"{name}.log" not in logs:
        names = ", ".join(log.stem for log in logs)
        raise UserError(f"There is no log of {name!r}; there is {names}.")
    return [folder / f"{name}.log"]


def tail(logs: list[Path], count: int) -> Iterator[tuple[str, str]]:
    """Name and line for the last ``count`` lines of each log."""
    for log in logs:
        for line in last_lines(log, count).splitlines() if count else ():
            yield log.stem, line


def follow(logs: list[Path]) -> Iterator[tuple[str, str]]:
    """Name and line of what is written from this call on; never ends."""
    return _following({log: log.stat().st_size for log in logs})


def _following(positions: dict[Path, int]) -> Iterator[tuple[str, str]]:
    while True:
        for log, position in positions.items():
            for line, end in _from(log, position):
                yield log.stem, line
                positions[log] = end
        time.sleep(0.2)


def _from(log: Path, position: int) -> Iterator[tuple[str, int]]:
    """Whole lines after ``position``, each with where it ends."""
    if not log.exists():  # being rotated
        return
    if log.stat().st_size < position:
        position = 0
    with log.open("rb") as file:
        file.seek(position)
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield line.decode(errors="replace").rstrip("\n"), file.tell()
