"""Start the programs, restart what crashes, stop all in reverse: the life of ``fineproof up``."""

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fineproof.local.child import tied
from fineproof.local.processes import find, markers, of_session, send
from fineproof.local.program import Program
from fineproof.local.state import ProgramPhase, ProgramState, StackState
from fineproof.local.sweep import end_program, end_strays, stop_programs

_TICK = 0.2
_LONGEST_PAUSE = 30.0
_CALM = 60.0  # seconds alive after which a crash counts as the first
_LOG_BYTES = 20 * 2**20
_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class StartFailed(Exception):
    """A program did not come up: one sentence, then the last lines of its log."""


class Supervisor:
    """Runs in the main thread, whose death the kernel tells the children of."""

    def __init__(
        self,
        programs: Sequence[Program],
        state: StackState,
        home: Path,
        show: Callable[[StackState], None],
    ) -> None:
        self._programs = programs
        self._home = home
        self._show = show
        self._stop = asyncio.Event()
        self._up = {program.name: asyncio.Event() for program in programs}
        self.state = state
        self.state.programs = [_initial(program, home) for program in programs]
        self._states = {program.name: program for program in self.state.programs}

    async def run(self) -> bool:
        """Come up, stay up until asked to stop, go down; False when the start failed."""
        loop = asyncio.get_running_loop()
        for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(how, self._asked_to_stop)
        # A look at a program may block for seconds; none should wait for another.
        loop.set_default_executor(ThreadPoolExecutor(2 * len(self._programs) + 2))
        self._show(self.state)
        keepers = [asyncio.create_task(self._keep(program)) for program in self._programs]
        tasks = [*keepers, asyncio.create_task(self._stop.wait())]
        announcer = asyncio.create_task(self._announce())
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            failure = next((e for task in done if (e := task.exception())), None)
        finally:
            for task in (*tasks, announcer):
                task.cancel()
            await asyncio.gather(*tasks, announcer, return_exceptions=True)
        self.state.phase = "stopping"
        await asyncio.to_thread(self._go_down)
        self.state.phase, self.state.message = "down", ""
        if failure is not None:
            self.state.phase, self.state.message = "failed", str(failure)
        self._show(self.state)
        if failure is not None and not isinstance(failure, StartFailed):
            raise failure
        return failure is None

    def _asked_to_stop(self) -> None:
        """The second time, without grace."""
        if self._stop.is_set():
            for program in self.state.programs:
                for member in of_session(program.identity) if program.identity else ():
                    send(member.identity, signal.SIGKILL)
        self._stop.set()

    async def _announce(self) -> None:
        for event in self._up.values():
            await event.wait()
        self.state.phase = "ready"
        self._show(self.state)

    async def _keep(self, program: Program) -> None:
        """Hold one program up for ever. Raises ``StartFailed`` if it does not come up at first."""
        for name in program.after:
            await self._up[name].wait()
        pause = 0.0
        while True:
            began = time.monotonic()
            self._mark(program, "starting")
            try:
                await asyncio.to_thread(program.prepare)
                process = self._spawn(program)
                reason = await self._until_ready(program, process)
                if reason is None:
                    reason = f"exited with code {await _exit_code(process)}"
            except (OSError, RuntimeError) as error:
                reason = f"could not be started: {error}"
            await self._clear(program)
            if not self._up[program.name].is_set():
                raise StartFailed(self._explain(program, reason))
            pause = 1.0 if time.monotonic() - began > _CALM else min(_LONGEST_PAUSE, pause * 2 or 1)
            self._states[program.name].restarts += 1
            self._mark(program, "restarting", f"{reason}; starts again in {pause:.0f} s")
            await asyncio.sleep(pause)

    def _spawn(self, program: Program) -> subprocess.Popen[bytes]:
        log = Path(self._states[program.name].log)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            log.replace(log.with_suffix(".log.1"))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        with log.open("ab") as output:
            process = subprocess.Popen(
                tied(
                    program.argv,
                    death_signal=program.stop_signal,
                    user=program.user,
                    nice=program.nice,
                ),
                env={
                    **os.environ,
                    "PATH": path,
                    "PYTHONUNBUFFERED": "1",
                    **markers(self._home, program.name),
                    **program.env,
                },
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        found = find(process.pid)
        self._states[program.name].identity = found.identity if found else None
        self._mark(program, "starting")
        return process

    async def _until_ready(self, program: Program, process: subprocess.Popen[bytes]) -> str | None:
        """Wait for readiness; gives the reason why it did not come, or None."""
        began = time.monotonic()
        state = self._states[program.name]
        while True:
            obstacle = await asyncio.to_thread(program.obstacle)
            if process.poll() is not None:
                return f"exited with code {process.returncode}"
            if obstacle is None:
                state.took = time.monotonic() - began
                self._mark(program, "ready")
                self._up[program.name].set()
                return None
            if time.monotonic() - began > program.patience:
                return f"was not ready after {program.patience:.0f} s ({obstacle})"
            if obstacle != state.note:
                self._mark(program, "starting", obstacle)
            await asyncio.sleep(_TICK)

    async def _clear(self, program: Program) -> None:
        """Kill what a program that ended, or never got ready, has left of its session."""
        state = self._states[program.name]
        identity, state.identity = state.identity, None
        if identity is not None:
            await asyncio.to_thread(end_program, self._home, program.name, identity)

    def _explain(self, program: Program, reason: str) -> str:
        log = Path(self._states[program.name].log)
        self._mark(program, "failed", reason)
        tail = last_lines(log, 15)
        return f"{program.name} did not start; it {reason.rstrip('.')}." + (
            f" The end of {log}:\n{tail}" if tail else ""
        )

    def _mark(self, program: Program, phase: ProgramPhase, note: str = "") -> None:
        state = self._states[program.name]
        if phase != state.phase:
            state.since = time.time()
        state.phase, state.note = phase, note
        self._show(self.state)

    def _go_down(self) -> None:
        stop_programs(self.state.programs, self._home, lambda _: self._show(self.state))
        end_strays(self._home)


def last_lines(log: Path, count: int) -> str:
    """The end of a log without terminal colours; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 64 * 1024))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(_ANSI.sub("", text).splitlines()[-count:])


async def _exit_code(process: subprocess.Popen[bytes]) -> int:
    while (code := process.poll()) is None:  # noqa: ASYNC110 - nothing to be woken by
        await asyncio.sleep(_TICK)
    return code


def _initial(program: Program, home: Path) -> ProgramState:
    return ProgramState(
        name=program.name,
        address=program.address,
        log=str(home / "logs" / f"{program.name}.log"),
        tier=program.tier,
        stop_signal=int(program.stop_signal),
        grace=program.grace,
    )
