"""Stop what belongs to a stack: the one way down, whoever takes it.

The supervisor, ``fineproof down``, the warden of a killed supervisor and the next ``up`` all come
through here.
"""

import signal
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from fineproof.local.processes import (
    Identity,
    boot_id,
    kill_all,
    marked,
    of_session,
    send,
    wait_gone,
)
from fineproof.local.state import ProgramState, StackState

_STRAY_GRACE = 3.0


def stop_programs(
    programs: list[ProgramState],
    home: Path,
    changed: Callable[[ProgramState], None] = lambda _: None,
) -> None:
    """Stop by tiers, the last one to start first; ``changed`` hears of each that has stopped.

    Each is asked by its own signal and, past its grace, killed with all that it started.
    """
    by_tier = sorted(programs, key=lambda program: -program.tier)
    for _, tier in groupby(by_tier, key=lambda program: program.tier):
        running = [(p, p.identity) for p in tier if p.identity is not None]
        for program, identity in running:
            program.phase = "stopping"
            changed(program)
            send(identity, signal.Signals(program.stop_signal))
        for program, identity in running:
            wait_gone([identity], program.grace)
            end_program(home, program.name, identity)
            program.phase, program.identity = "stopped", None
            changed(program)


def end_program(home: Path, name: str, leader: Identity) -> None:
    """Kill what is left of a program: itself and everything it started."""
    kill_all(lambda: [*of_session(leader), *marked(home, name)])


def end_strays(home: Path) -> None:
    """Stop processes of the stack whose program nobody wrote down."""
    strays = [process.identity for process in marked(home)]
    for identity in strays:
        send(identity, signal.SIGTERM)
    wait_gone(strays, _STRAY_GRACE)
    kill_all(lambda: marked(home))


def sweep(state: StackState | None, home: Path) -> list[str]:
    """Stop everything a stack in ``home`` left; gives the names of the programs that still ran."""
    left: list[str] = []
    if state is not None and state.boot == boot_id():
        programs = [
            p
            for p in state.programs
            if p.identity and (of_session(p.identity) or marked(home, p.name))
        ]
        left = [program.name for program in programs]
        stop_programs(programs, home)
    end_strays(home)
    return left
