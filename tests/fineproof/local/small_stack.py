"""A stack of small real processes under the real supervisor: ``python small_stack.py HOME KIND``.

Run as a program, because a supervisor needs the main thread and gets killed in the tests.
"""

import signal
import socket
import sys
from pathlib import Path

from rich.console import Console

from fineproof.local import stack
from fineproof.local.program import Program
from fineproof.local.state import locked
from fineproof.settings import Settings

# Answers on a Unix socket until told to stop, then says so in a shared file.
SERVER = """
import os, signal, socket, sys, time
name, home = sys.argv[1:]
def stop(*_):
    with open(f"{home}/stopped", "a") as file: file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
with open(f"{home}/started", "a") as file: file.write(name + "\\n")
path = f"{home}/{name}.sock"
if os.path.exists(path): os.unlink(path)
listener = socket.socket(socket.AF_UNIX); listener.bind(path); listener.listen()
print(name, "listens", flush=True)
while True: listener.accept()
"""

# Leaves a child that ignores SIGTERM and overwrites its environment, as vLLM's engine does, and a
# child in a session of its own, as a launcher's is.
PARENT = """
import os, subprocess, sys
engine = "import setproctitle, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
engine += f"setproctitle.setproctitle('engine-of-' + {sys.argv[2]!r} * 3); time.sleep(600)"
plain = {k: v for k, v in os.environ.items() if not k.startswith(("SPT_", "FINEPROOF_"))}
subprocess.Popen([sys.executable, "-c", engine], env=plain)
roamer = "import sys, time; time.sleep(600)"
subprocess.Popen([sys.executable, "-c", roamer, "roamer-of-" + sys.argv[2]], start_new_session=True)
"""

DYING = "import sys; print('the disk is on fire', flush=True); sys.exit(3)"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


def listens(path: Path) -> str | None:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return "no socket yet"
    return None


def server(
    name: str, home: Path, tier: int, after: tuple[str, ...] = (), code: str = ""
) -> Program:
    return Program(
        name=name,
        argv=(sys.executable, "-c", code + SERVER, name, str(home)),
        address=f"{name}.sock",
        obstacle=lambda: listens(home / f"{name}.sock"),
        tier=tier,
        after=after,
        grace=5.0,
        stop_signal=signal.SIGTERM,
    )


def planned(kind: str, home: Path) -> list[Program]:
    base = server("base", home, 0)
    middle = server("middle", home, 1, after=("base",), code=PARENT)
    top = server("top", home, 2, after=("middle",))
    if kind == "dying":
        return [base, Program("dying", (sys.executable, "-c", DYING), "-", lambda: "no", 1)]
    if kind == "deaf":
        deaf = Program(
            "deaf", (sys.executable, "-c", DEAF), "-", lambda: "never ready", 1, patience=1.0
        )
        return [base, deaf]
    return [base, middle, top]


def main() -> None:
    home, kind = Path(sys.argv[1]), sys.argv[2]
    settings = Settings(home=home, port=8000, model="small")
    console = Console()
    with locked(home, 30.0) as ours:
        if not ours:
            sys.exit("locked")
        came_up = stack.supervise(settings, "small", planned(kind, home), console)
    sys.exit(0 if came_up else 1)


if __name__ == "__main__":
    main()
