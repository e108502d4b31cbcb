"""How much memory processes held at most, as the kernel counts it: proc(5), VmHWM."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil


def named(word: str) -> list[psutil.Process]:
    """Processes that this one started, or those did, with ``word`` in their command line, and all
    that they started: Celery's give themselves other names."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if word in process.cmdline():
                family = (process, *process.children(recursive=True))
                found |= {each.pid: each for each in family}
    return list(found.values())


def forget(processes: Sequence[psutil.Process]) -> None:
    """From now on the most is counted anew."""
    for process in processes:
        Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def peak(processes: Sequence[psutil.Process]) -> float:
    """MB, each process at its own most."""
    most = 0.0
    for process in processes:
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                most += int(line.split()[1]) / 1_000
    return most
