"""Progress of long steps: bars with the time left on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_SECONDS = 15.0


class Bar:
    """One step's progress. ``total`` may become known only later."""

    def __init__(self, board: "Board", title: str, task: TaskID | None, total: int | None) -> None:
        self._board = board
        self._title = title
        self._task = task
        self._total = total
        self._started = self._spoken = time.monotonic()
        self._first: int | None = None  # what an earlier run had done already

    def at(self, done: int, total: int | None = None, *, note: str = "") -> None:
        self._total = total or self._total
        self._first = done if self._first is None else min(self._first, done)
        if self._task is not None:
            self._board.progress.update(self._task, completed=done, total=self._total, note=note)
        elif time.monotonic() - self._spoken >= LINE_SECONDS:
            self._spoken = time.monotonic()
            of = f" of {self._total}" if self._total else ""
            left = self._seconds_left(done)
            self._board.say(f"  {self._title}: {done}{of} {note}".rstrip() + left)

    def _seconds_left(self, done: int) -> str:
        made = done - (self._first or 0)
        if not self._total or made <= 0 or done >= self._total:
            return ""
        seconds = (time.monotonic() - self._started) / made * (self._total - done)
        return f", about {seconds:.0f} s left"

    def finish(self) -> None:
        seconds = time.monotonic() - self._started
        if self._task is None:
            self._board.say(f"✓ {self._title} ({seconds:.0f} s)")
        else:
            total = self._total or 1
            self._board.progress.update(self._task, completed=total, total=total)


class Board:
    """All bars of one run, on one console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
        )

    def say(self, line: str) -> None:
        self.console.print(line, highlight=False)

    @contextmanager
    def live(self) -> Iterator["Board"]:
        if self.console.is_terminal:
            with self.progress:
                yield self
        else:
            yield self

    @contextmanager
    def bar(self, title: str, total: int | None) -> Iterator[Bar]:
        task = None
        if self.console.is_terminal:
            task = self.progress.add_task(title, total=total, note="")
        else:
            self.say(f"• {title} …")
        bar = Bar(self, title, task, total)
        yield bar
        bar.finish()
