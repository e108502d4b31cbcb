"""A program that cannot outlive whoever started it.

``python -m services.trainer.running.tether PID ARG…`` becomes ``ARG…`` by ``exec``, so that the
process id stays, and is killed when process PID dies, even by ``kill -9``. Without this a worker
that dies would leave its training running, and the next worker would start the same job beside it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1
_LAUNCHER = "TETHERED_TO"


def tied(argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` tied to the calling process.

    The kernel watches the *thread* that starts it: start it from one that lives as long.
    """
    return [sys.executable, "-m", __name__, str(os.getpid()), *argv]


def die_with_parent(parent: int) -> None:
    """Be killed when process ``parent``, which started this one, dies; exit if it has already."""
    _ask_kernel()
    if os.getppid() != parent:
        sys.exit(1)


def die_with_launcher() -> None:
    """As :func:`die_with_parent`, for a grandchild: the tied program starts it in its own way."""
    _ask_kernel()
    launcher = os.environ.get(_LAUNCHER)
    try:
        os.kill(int(launcher or os.getppid()), 0)
    except ProcessLookupError:
        sys.exit(1)


def _ask_kernel() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:  # prctl(2)
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")


def main() -> None:
    parent, *argv = sys.argv[1:]
    die_with_parent(int(parent))
    os.environ[_LAUNCHER] = str(os.getpid())
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
