"""Clients that are tested besides the one that is installed, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

OLD = "1.99.9"


def client_folder(name: str) -> Path:
    """Where ``make dev`` has put it, or ``FINEPROOF_COMPAT_CLIENTS`` says that it is."""
    root = os.environ.get("FINEPROOF_COMPAT_CLIENTS", f"{sys.prefix}/compat")
    folder = Path(root) / name
    assert folder.is_dir(), f"{folder} is missing: run 'make dev'"
    return folder


def old_client() -> Path:
    return client_folder(f"openai-{OLD}")


def walked(script: Path, *arguments: str, path: Path | None = None) -> str:
    """What ``script`` prints in a process that imports from ``path`` first."""
    places = [str(path)] if path else []
    places += filter(None, [os.environ.get("PYTHONPATH")])
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(places)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()
