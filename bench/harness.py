"""What every benchmark shares: how a figure is stated, and on which machine it was taken."""

import argparse
import json
import operator
import platform
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"

_COMPARE = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Figure:
    """``value`` is ours and ``reference`` the peer's or limit's, in ``unit``, from the same run.

    ``goal`` is what ``ratio`` should be, such as ``">=0.97"``; null where none is set.
    """

    name: str
    unit: str
    value: float
    reference: float
    goal: str | None

    @property
    def ratio(self) -> float:
        return self.value / self.reference

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        match = re.fullmatch(r"(>=|<=)(\d+(?:\.\d+)?)", self.goal)
        if match is None:
            raise ValueError(f"not a goal: {self.goal!r}")
        return bool(_COMPARE[match[1]](self.ratio, float(match[2])))


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """The machine a figure was taken on: cores this process may use, memory in bytes."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": len(psutil.Process().cpu_affinity()),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def conclude(
    name: str,
    figures: list[Figure],
    *,
    packages: Iterable[str],
    details: Mapping[str, Any],
    console: Console | None = None,
    folder: Path | None = None,
) -> Path:
    """Print the figures as a table and write ``<name>.json`` to ``folder``, ``bench/results`` by
    itself; returns its path."""
    console = console or Console()
    table = Table(title=f"bench {name}", title_justify="left")
    for heading in ("figure", "ours", "reference", "ratio", "goal", "met"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.value:,.4g} {figure.unit}",
            f"{figure.reference:,.4g}",
            f"{figure.ratio:.3f}",
            figure.goal or "",
            {True: "yes", False: "NO", None: ""}[figure.met],
        )
    console.print(table)
    folder = folder or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    content = {
        "name": name,
        "measured_at": int(time.time()),
        "machine": machine(packages),
        "figures": [asdict(f) | {"ratio": round(f.ratio, 4), "met": f.met} for f in figures],
        "details": dict(details),
    }
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path


def parser(description: str | None) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
