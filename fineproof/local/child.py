"""Start a program that cannot outlive whoever started it.

::

    python -m fineproof.local.child PARENT SIGNAL USER NICE -- PROGRAM ARGUMENT…

becomes PROGRAM by ``exec``, so the process id stays. The kernel sends SIGNAL when the parent dies,
even by ``kill -9`` (``PR_SET_PDEATHSIG``, prctl(2)). The parent is a *thread*: start children from
one that lives as long as they should.
"""

import ctypes
import os
import pwd
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def tied(
    argv: Sequence[str], *, death_signal: signal.Signals, user: str | None = None, nice: int = 0
) -> list[str]:
    """The command line that runs ``argv`` as ``user``, tied to the life of the calling process.

    ``nice`` (0 to 19): how far it stands back where cores are wanted by others, too.
    """
    own = [sys.executable, "-m", __name__, str(os.getpid()), str(int(death_signal))]
    return [*own, user or "-", str(nice), "--", *argv]


def _stand_back(nice: int) -> None:
    os.nice(nice)
    # Linux shares cores among sessions first, where it groups by them: sched(7), autogroup.
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))


def _drop_privileges(user: str) -> None:
    account = pwd.getpwnam(user)
    os.setgroups([account.pw_gid])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def main() -> None:
    parent, death_signal, user, nice, _, *argv = sys.argv[1:]
    if int(nice):
        _stand_back(int(nice))
    if user != "-":
        _drop_privileges(user)
    # After the change of user, which clears the setting.
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != int(parent):  # it died before the kernel knew to tell us
        sys.exit(1)
    os.execvp(argv[0], argv)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
