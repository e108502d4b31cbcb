"""Processes of the local stack that a benchmark needs, begun as ``fineproof up`` begins them."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from fineproof.local.child import tied
from fineproof.local.program import Program


@contextmanager
def running(program: Program, home: Path) -> Iterator[None]:
    """One process, from when it is ready. Raises ``RuntimeError`` with the end of its log."""
    log = home / "logs" / f"{program.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    program.prepare()
    with log.open("ab") as output:
        process = subprocess.Popen(
            tied(
                program.argv,
                death_signal=program.stop_signal,
                user=program.user,
                nice=program.nice,
            ),
            env=os.environ | dict(program.env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + program.patience
        while (obstacle := program.obstacle()) is not None:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{program.name} ({obstacle}): {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(program.stop_signal)
        try:
            process.wait(program.grace)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Stack:
    """Some of the programs, all up; any can be stopped and started again at the same address."""

    def __init__(self, programs: Sequence[Program], home: Path) -> None:
        self._programs = {program.name: program for program in programs}
        self._home = home
        self._running = {program.name: ExitStack() for program in programs}

    def start(self, name: str) -> None:
        self._running[name].enter_context(running(self._programs[name], self._home))

    def stop(self, name: str) -> None:
        self._running[name].close()

    def stop_all(self) -> None:
        for name in reversed(self._running):
            self.stop(name)


def changed(
    program: Program,
    *,
    options: Mapping[str, str] | None = None,
    words: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
) -> Program:
    """The same program with other values of ``options``, other ``words``, and more ``env``."""
    argv = [(words or {}).get(word, word) for word in program.argv]
    for name, value in (options or {}).items():
        argv[argv.index(name) + 1] = value
    return replace(program, argv=tuple(argv), env={**program.env, **(env or {})})
