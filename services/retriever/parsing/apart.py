"""A file read in a process of its own, which ends when its time is up.

A file can keep a parser busy for hours, in code that nothing inside the process stops. An alarm of
the kernel's, alarm(2), ends the process, whether or not the worker that waits for it still lives.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any, BinaryIO

from services.retriever.parsing.documents import is_quick, sections
from services.retriever.parsing.refusal import Unreadable


def read(
    source: BinaryIO, filename: str, *, max_characters: int, max_seconds: float
) -> Iterator[str]:
    """As ``sections``; ``Unreadable`` too where it takes longer. ``source`` is a file on disk.

    Raises ``RuntimeError`` when the process ends otherwise: it was killed, or had no memory left.
    """
    if is_quick(source, filename):
        yield from sections(source, filename, max_characters=max_characters)
        return
    argv = [sys.executable, "-m", __name__, filename, str(max_characters), str(max_seconds)]
    with TemporaryFile("w+", encoding="utf-8") as said:
        done = subprocess.run(argv, stdin=source, stdout=said, env=_environment(), check=False)
        if done.returncode == -signal.SIGALRM:
            raise Unreadable(
                f"The file was not read within {max_seconds:g} seconds; divide it, or send it as "
                "text."
            )
        if done.returncode != 0:
            raise RuntimeError(f"The process that reads the file ended with {done.returncode}.")
        said.seek(0)
        for line in said:
            yield _taken(json.loads(line))


def _taken(value: str | dict[str, Any]) -> str:
    if isinstance(value, str):
        return value
    raise Unreadable(**value)


def _environment() -> dict[str, str]:
    """Whoever reads a stranger's file learns no database and no key."""
    return {name: said for name, said in os.environ.items() if not name.startswith("FINEPROOF_")}


def main() -> None:
    """Write each section as a JSON string, and a refusal as an object, a line each."""
    filename, characters, seconds = sys.argv[1:]
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, float(seconds))
    try:
        for text in sections(sys.stdin.buffer, filename, max_characters=int(characters)):
            print(json.dumps(text))
    except Unreadable as refusal:
        print(json.dumps({"message": str(refusal), "code": refusal.code}))


if __name__ == "__main__":
    main()
