"""Linux processes, identified so that a recycled process id is never mistaken for ours.

What a program started is found in two ways, because each has a hole. Every program leads a session
of its own (setsid(2)); children stay in it when their parent is killed, and the kernel hands out no
process id that still names a session. Children that make a session for themselves, as Celery's pool
does, carry two variables in their environment, unless they overwrite it to change their title.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

MARKER = "FINEPROOF_STACK"
"""Names FINEPROOF_HOME in the environment of every process of the stack."""
PROGRAM_MARKER = "FINEPROOF_PROGRAM"
"""Names the program that a process of the stack belongs to."""

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Identity:
    """A process id together with what tells two holders of it apart."""

    pid: int
    started: int
    """Clock ticks between boot and the start of the process; untouched when the clock is set."""


@dataclass(frozen=True, slots=True)
class Process:
    identity: Identity
    session: int


def boot_id() -> str:
    """Changes with every boot; identities of another boot name nobody."""
    return (_PROC / "sys/kernel/random/boot_id").read_text().strip()


def find(pid: int) -> Process | None:
    """The living process ``pid``; a zombie is dead."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(")") + 2 :].split()  # the name before may hold spaces and brackets
    if fields[0] in "ZX":
        return None
    return Process(Identity(pid, int(fields[19])), session=int(fields[3]))


def identity_of_self() -> Identity:
    found = find(os.getpid())
    assert found is not None  # we live
    return found.identity


def alive(identity: Identity) -> bool:
    process = find(identity.pid)
    return process is not None and process.identity == identity


def everyone() -> Iterator[Process]:
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (process := find(int(entry.name))) is not None:
            yield process


def of_session(leader: Identity) -> list[Process]:
    """The living members of the session that ``leader`` leads or led."""
    holder = find(leader.pid)
    if holder is not None and holder.identity != leader:
        return []  # the id was recycled, so the session had ended
    return [
        process
        for process in everyone()
        if process.session == leader.pid and process.identity.started >= leader.started
    ]


def markers(home: Path, program: str) -> dict[str, str]:
    """Environment by which a program's processes are found again."""
    # setproctitle (vLLM, Celery) would otherwise write the title over the environment.
    return {MARKER: str(home), PROGRAM_MARKER: program, "SPT_NOENV": "1"}


def marked(home: Path, program: str | None = None) -> list[Process]:
    """Living processes that carry the stack's marker, ourselves and our ancestors left out."""
    wanted = {f"{MARKER}={home}".encode()}
    if program is not None:
        wanted.add(f"{PROGRAM_MARKER}={program}".encode())
    own = set(_ancestry(os.getpid()))
    found = []
    for process in everyone():
        if process.identity.pid in own:
            continue
        try:
            environment = (_PROC / str(process.identity.pid) / "environ").read_bytes()
        except OSError:  # another user's, or gone
            continue
        if wanted.issubset(environment.split(b"\0")):
            found.append(process)
    return found


def _ancestry(pid: int) -> Iterator[int]:
    while pid > 0:
        yield pid
        try:
            text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return
        pid = int(text[text.rindex(")") + 2 :].split()[1])


def send(identity: Identity, how: signal.Signals) -> None:
    """Signal a process that may be gone by now."""
    if not alive(identity):
        return
    try:
        os.kill(identity.pid, how)
    except ProcessLookupError:
        return


def wait_gone(identities: Iterable[Identity], seconds: float) -> list[Identity]:
    """Wait until none is alive; gives those that still are."""
    deadline = time.monotonic() + seconds
    left = [identity for identity in identities if alive(identity)]
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left = [identity for identity in left if alive(identity)]
    return left


def kill_all(find_members: Callable[[], list[Process]], seconds: float = 10.0) -> None:
    """SIGKILL whatever ``find_members`` finds until it finds nobody: they may still be forking."""
    deadline = time.monotonic() + seconds
    while members := find_members():
        for process in members:
            send(process.identity, signal.SIGKILL)
        wait_gone([process.identity for process in members], 1.0)
        if time.monotonic() > deadline:
            break
