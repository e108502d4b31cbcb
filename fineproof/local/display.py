"""Show a stack coming up and going down: a live table on a terminal, else a line a change."""

import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from fineproof.local.state import ProgramPhase, ProgramState, StackState

_STYLES: dict[ProgramPhase, str] = {
    "waiting": "dim",
    "starting": "yellow",
    "ready": "green",
    "restarting": "red",
    "stopping": "yellow",
    "stopped": "dim",
    "failed": "bold red",
}


class Display:
    """Told of every change of a stack; says what is new."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._state: StackState | None = None
        self._told: dict[str, tuple[ProgramPhase, int]] = {}
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=lambda: table(self._state) if self._state else "",
                console=self._console,
                refresh_per_second=4,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end_table()

    def show(self, state: StackState) -> None:
        self._state = state
        for program in state.programs:
            known = self._told.get(program.name)
            now = self._told[program.name] = (program.phase, program.restarts)
            if self._live is None and known != now and program.phase != "waiting":
                self._console.print(_line(program), highlight=False, soft_wrap=True)
        if state.phase != "starting":
            self._end_table()  # from now on a line a change

    def _end_table(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def table(state: StackState) -> Table:
    caption = f"logs in {_short(str(Path(state.home) / 'logs'))}"
    shown = Table(box=None, pad_edge=False, header_style="bold", caption=caption)
    for heading in ("process", "state", "seconds", "address", "log"):
        shown.add_column(heading, justify="right" if heading == "seconds" else "left")
    for program in state.programs:
        shown.add_row(
            program.name,
            f"[{_STYLES[program.phase]}]{program.phase}[/]",
            _seconds(program),
            program.address,
            Path(program.log).name,
        )
    return shown


def _seconds(program: ProgramState) -> str:
    """How long it took to be ready, or has been at it."""
    if program.phase == "ready" and program.took is not None:
        return f"{program.took:.1f}"
    if program.phase in ("starting", "restarting", "stopping"):
        return f"{time.time() - program.since:.1f}"
    return ""


def _line(program: ProgramState) -> str:
    if program.phase == "ready":
        return f"{program.name} is ready after {_seconds(program)} s at {program.address}"
    if program.phase == "restarting":
        return f"{program.name} {program.note}; its log is {_short(program.log)}"
    if program.phase == "failed":
        return f"{program.name} failed: it {program.note}"
    return f"{program.name} is {program.phase}"


def _short(path: str) -> str:
    """Relative to the working folder where that is shorter."""
    here = Path.cwd()
    return str(Path(path).relative_to(here)) if Path(path).is_relative_to(here) else path
