"""What the supervisor writes down for the other commands: ``run/stack.json`` and ``run/lock``."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from fineproof.local.processes import Identity, alive, boot_id

ProgramPhase = Literal[
    "waiting", "starting", "ready", "restarting", "stopping", "stopped", "failed"
]
StackPhase = Literal["starting", "ready", "stopping", "failed", "down"]


@dataclass
class ProgramState:
    """One process as it is now."""

    name: str
    address: str
    log: str
    tier: int
    stop_signal: int
    grace: float
    phase: ProgramPhase = "waiting"
    since: float = field(default_factory=time.time)
    """When the phase began, seconds since the epoch."""
    took: float | None = None
    """Seconds from its start until it was ready."""
    identity: Identity | None = None
    restarts: int = 0
    note: str = ""


@dataclass
class StackState:
    """The whole stack as it is now."""

    home: str
    url: str
    model: str
    supervisor: Identity
    warden: Identity | None = None
    boot: str = field(default_factory=boot_id)
    phase: StackPhase = "starting"
    message: str = ""
    programs: list[ProgramState] = field(default_factory=list)

    @property
    def supervisor_lives(self) -> bool:
        return self.boot == boot_id() and alive(self.supervisor)


class StateFile:
    """``run/stack.json``, replaced as a whole so that a reader never sees half of it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.path = home / "run" / "stack.json"

    def write(self, state: StackState) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self.path.with_suffix(f".{os.getpid()}.tmp")
        scratch.write_text(json.dumps(asdict(state), indent=1))
        scratch.replace(self.path)

    def read(self) -> StackState | None:
        """The state last written; None where there is none or it is of another version."""
        try:
            told: dict[str, Any] = json.loads(self.path.read_text())
            programs = [
                ProgramState(**{**program, "identity": _identity(program["identity"])})
                for program in told["programs"]
            ]
            people = {name: _identity(told[name]) for name in ("supervisor", "warden")}
            return StackState(**{**told, **people, "programs": programs})
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def _identity(told: dict[str, int] | None) -> Identity | None:
    return None if told is None else Identity(**told)


@contextmanager
def locked(home: Path, patience: float = 0.0) -> Iterator[bool]:
    """Hold ``run/lock``; gives False when somebody else still does after ``patience`` seconds.

    The kernel lets go of it when its holder dies, however it dies.
    """
    path = home / "run" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, descriptor):
                break
        except BlockingIOError:
            if time.monotonic() >= deadline:
                os.close(descriptor)
                yield False
                return
        os.close(descriptor)
        time.sleep(0.05)
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is_still(path: Path, descriptor: int) -> bool:
    """Whether the locked file is the one at ``path``: its last holder removed it on leaving."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
