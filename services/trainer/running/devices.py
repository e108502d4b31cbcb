"""What a worker's slots consist of, found out without loading a training library."""

import os
import platform
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from services.trainer import storage
from services.trainer.models import Device
from services.trainer.running.attempt import Workshop
from services.trainer.running.launch import ALL_DEVICES
from services.trainer.running.scheduling import devices, slots

MATRIX = 1024
TRIALS = 3


def note_devices(shop: Workshop) -> None:
    """Write down the devices of each slot of this host."""
    rows = [
        describe(slot, each)
        for slot, each in zip(slots(shop.settings), devices(shop.settings), strict=True)
    ]
    with shop.db.transaction() as session:
        storage.replace_devices(session, rows)


def describe(slot: str, devices: str) -> Device:
    """A slot with several GPUs has the memory of all of them, and the name of the first."""
    device = Device(id=slot, seen_at=storage.now())
    if devices.startswith("cpu"):
        device.kind, device.name = "cpu", cpu_name()
        device.memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        device.flops = matrix_product_flops()
        return device
    gpus = installed_gpus(None if devices == ALL_DEVICES else devices.split(","))
    device.kind, device.name = "cuda", gpus[0][0] if gpus else "unknown"
    device.memory_bytes = sum(memory for _, memory in gpus)
    return device


def cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    named = re.search(r"^model name\s*: (.+)$", info.read_text(), re.M) if info.exists() else None
    return f"{named[1] if named else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def matrix_product_flops() -> float:
    """Floating-point operations a second of a float32 product of two square matrices, 2n³ each:
    the best of a few, for the first pays for starting threads."""
    import numpy  # loaded where it is needed: the main process of a GPU worker never does

    matrix = numpy.ones((MATRIX, MATRIX), dtype=numpy.float32)
    best = float("inf")
    for _ in range(TRIALS):
        started = time.perf_counter()
        matrix @ matrix
        best = min(best, time.perf_counter() - started)
    return 2 * MATRIX**3 / best


def installed_gpus(chosen: Sequence[str] | None) -> list[tuple[str, int]]:
    """Name and memory in bytes of GPUs by index or UUID, all of them by default; ``nvidia-smi``
    says. Empty where it is missing or silent."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    which = [f"--id={','.join(chosen)}"] if chosen else []
    try:
        told = subprocess.run([*query, *which], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [line.rpartition(",") for line in told.stdout.splitlines() if told.returncode == 0]
    return [(name.strip(), int(mebibytes) * 2**20) for name, _, mebibytes in rows]
