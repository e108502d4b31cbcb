"""Clean up after a supervisor that was killed: ``python -m fineproof.local.warden HOME PID TICKS``.

Waits for the end of its standard input, a pipe that only the supervisor holds open, then stops what
the supervisor left. After an orderly end there is nothing left, and it just goes.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fineproof.local.processes import Identity, find
from fineproof.local.state import StateFile, locked
from fineproof.local.sweep import sweep


def main() -> None:
    home, supervisor = Path(sys.argv[1]), Identity(int(sys.argv[2]), int(sys.argv[3]))
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(how, signal.SIG_IGN)
    while os.read(0, 1):
        pass
    file = StateFile(home)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        state = file.read()
        if state is None or state.supervisor != supervisor or state.phase in ("failed", "down"):
            return  # an orderly end, or another `up` has taken over and swept by itself
        if not state.supervisor_lives:  # it may take a moment: a pipe closes before its owner ends
            with locked(home) as ours:
                if ours:
                    sweep(state, home)
                    file.remove()
                    return
        time.sleep(0.05)


@contextmanager
def warden(home: Path, supervisor: Identity) -> Iterator[Identity | None]:
    """Have a warden stand by while the context lasts; gives its identity."""
    argv = [sys.executable, "-m", __name__, str(home)]
    with subprocess.Popen(
        [*argv, str(supervisor.pid), str(supervisor.started)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # out of reach of the terminal's Ctrl-C
        cwd="/",
    ) as process:  # closes its standard input and waits for it on the way out
        found = find(process.pid)
        yield found.identity if found else None


if __name__ == "__main__":
    main()
