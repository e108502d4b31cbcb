"""A program that cannot outlive whoever started it: ``python -m services.trainer.tether PID ARG…``

becomes ``ARG…`` by ``exec``, so that the process id stays, and is killed when process PID dies,
even by ``kill -9``. Without this a worker that dies would leave its training running, and the next
worker would start the same job beside it.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def tied(argv: Sequence[str]) -> list[str]:
    """The command line that runs ``argv`` tied to the calling process.

    The kernel watches the *thread* that starts it: start it from one that lives as long.
    """
    return [sys.executable, "-m", __name__, str(os.getpid()), *argv]


def die_with_parent(parent: int | None = None) -> None:
    """Ask the kernel to kill this process when its parent dies; see prctl(2).

    Exits at once when the parent, expected to be process ``parent``, is gone already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent if parent is not None else os.getppid() == 1:
        sys.exit(1)


def main() -> None:
    parent, *argv = sys.argv[1:]
    die_with_parent(int(parent))
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
