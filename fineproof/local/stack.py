"""The stack of one FINEPROOF_HOME, brought up, looked at and taken down."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from fineproof.errors import UserError
from fineproof.local import preflight
from fineproof.local.display import Display
from fineproof.local.plan import programs
from fineproof.local.processes import boot_id, identity_of_self, send, wait_gone
from fineproof.local.program import Program
from fineproof.local.state import StackState, StateFile, locked
from fineproof.local.supervisor import Supervisor, last_lines
from fineproof.local.sweep import sweep
from fineproof.local.warden import warden
from fineproof.models.catalog import Model, servable
from fineproof.models.progress import pull_with_bar
from fineproof.settings import Settings

_HANDOVER = 60.0  # seconds for a warden, or another command, to finish with the folder
_DOWN = 120.0  # seconds an orderly stop may take; the graces of all tiers together are less


def running(home: Path) -> StackState | None:
    """The state of the stack in ``home`` when its supervisor lives."""
    state = StateFile(home).read()
    return state if state is not None and state.supervisor_lives else None


def last_state(home: Path) -> StackState | None:
    """The state last written, told as it is now: nothing lives without a supervisor."""
    state = StateFile(home).read()
    if state is not None and not state.supervisor_lives:
        state.phase = "failed" if state.phase == "failed" else "down"
        for program in state.programs:
            program.phase, program.identity = "stopped", None
    return state


def up(settings: Settings, console: Console) -> bool:
    """Run the stack until it is told to stop; False when it did not come up."""
    with claimed(settings, console) as state:
        if state is not None:
            _say_already_up(state, console)
            return True
        model = _make_ready(settings, console)
        return supervise(settings, model.name, programs(settings, model), console)


def up_detached(settings: Settings, console: Console) -> None:
    """Start ``up`` in the background and return once all is ready. Raises ``UserError``."""
    with claimed(settings, console) as state:
        if state is None:
            _make_ready(settings, console)
    if state is not None and state.phase == "ready":
        _say_already_up(state, console)
        return
    log = settings.home / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    child = None if state is not None else _spawn_up(settings, log)
    with Display(console) as display:
        try:
            _follow_until_ready(settings, display, child, log)
        except KeyboardInterrupt:
            if child is not None:
                child.send_signal(signal.SIGTERM)
                child.wait()
            raise
    console.print(f"Ready at {settings.url}. `fineproof down` stops it.", highlight=False)


def down(settings: Settings, console: Console) -> None:
    """Stop the stack and wait until nothing of it is left."""
    home, file = settings.home, StateFile(settings.home)
    state = running(home)
    if state is not None:
        send(state.supervisor, signal.SIGTERM)
        with console.status("Stopping the stack"):
            if wait_gone([state.supervisor], _DOWN):
                send(state.supervisor, signal.SIGKILL)
    with locked(home, _HANDOVER) as ours:
        if not ours:
            raise UserError(f"Another command is at work in {home}; try again in a moment.")
        left = _clear_away(file)
    if state is None and not left:
        console.print("Nothing was running.")
        return
    console.print("Stopped." if state else f"Cleaned up what was left: {', '.join(left)}.")


@contextmanager
def claimed(settings: Settings, console: Console) -> Iterator[StackState | None]:
    """Hold the folder and clean it up; or give the state of the stack that runs in it."""
    state = running(settings.home)
    if state is not None:
        yield state
        return
    with locked(settings.home, _HANDOVER) as ours:
        if not ours:
            state = running(settings.home)
            if state is None:
                raise UserError(
                    f"Another `fineproof up` is getting ready in {settings.home}; wait for it."
                )
            yield state
            return
        if left := _clear_away(StateFile(settings.home)):
            console.print(f"Cleaned up what a killed stack left: {', '.join(left)}.")
        yield None


def _clear_away(file: StateFile) -> list[str]:
    """Stop what the stack of ``file`` left, its warden too; gives names. The lock is held."""
    state = file.read()
    left = sweep(state, file.home)
    file.remove()
    if state is not None and state.warden is not None and state.boot == boot_id():
        wait_gone([state.warden], 5.0)  # it goes when it finds no file
    return left


def _make_ready(settings: Settings, console: Console) -> Model:
    """Check what must hold, and have the model there. Raises ``UserError``."""
    preflight.check(settings)
    model = servable(settings.model, settings.home)
    pull_with_bar(model, console)
    return model


def supervise(settings: Settings, model: str, planned: Sequence[Program], console: Console) -> bool:
    """Run the programs until told to stop; False when they did not come up.

    The caller holds the lock, in the main thread.
    """
    file = StateFile(settings.home)
    state = StackState(
        home=str(settings.home),
        url=settings.url,
        model=model,
        supervisor=identity_of_self(),
    )
    with warden(settings.home, state.supervisor) as state.warden, Display(console) as display:
        was_ready = False

        def show(now: StackState) -> None:
            nonlocal was_ready
            file.write(now)
            display.show(now)
            if now.phase == "ready" and not was_ready:
                was_ready = True
                console.print(f"Ready at {now.url}. Ctrl-C stops it.", highlight=False)

        supervisor = Supervisor(planned, state, settings.home, show)
        came_up = asyncio.run(supervisor.run())
        if came_up:
            file.remove()
        else:
            console.print(state.message, style="red", highlight=False, markup=False)
    return came_up


def _spawn_up(settings: Settings, log: Path) -> "subprocess.Popen[bytes]":
    environment = {
        "FINEPROOF_HOME": str(settings.home),
        "FINEPROOF_PORT": str(settings.port),
        "FINEPROOF_MODEL": settings.model,
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "fineproof.cli", "up"],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _follow_until_ready(
    settings: Settings,
    display: Display,
    child: "subprocess.Popen[bytes] | None",
    log: Path,
) -> None:
    file = StateFile(settings.home)
    while True:
        state = running(settings.home)
        if state is not None:
            display.show(state)
            if state.phase == "ready":
                return
        if state is None and (child is None or child.poll() is not None):
            break
        time.sleep(0.2)
    failed = file.read()
    raise UserError(
        failed.message
        if failed is not None and failed.message
        else f"The stack stopped while it came up. The end of {log}:\n{last_lines(log, 15)}"
    )


def _say_already_up(state: StackState, console: Console) -> None:
    if state.phase == "ready":
        console.print(f"Already up at {state.url}.", highlight=False)
    else:
        console.print(
            f"Already {state.phase} at {state.url}; `fineproof status` tells how far it is.",
            highlight=False,
        )


def summary(state: StackState | None, settings: Settings) -> dict[str, Any]:
    """What ``status --json`` prints; its names stay."""
    if state is None:
        return {
            "home": str(settings.home),
            "url": settings.url,
            "model": settings.model,
            "state": "down",
            "message": "",
            "processes": [],
        }
    return {
        "home": state.home,
        "url": state.url,
        "model": state.model,
        "state": state.phase,
        "message": state.message,
        "processes": [
            {
                "name": program.name,
                "state": program.phase,
                "pid": program.identity.pid if program.identity else None,
                "address": program.address,
                "log": program.log,
                "since": program.since,
                "seconds_to_ready": program.took,
                "restarts": program.restarts,
                "note": program.note,
            }
            for program in state.programs
        ],
    }
