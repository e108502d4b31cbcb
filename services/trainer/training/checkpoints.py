"""The Trainer's checkpoints: adapter, optimizer, scheduler, random numbers and place in the data.

A folder counts from the moment its last file, ``complete``, is there; one without it was cut off in
the writing. The file says how many seconds the run had been trained for.
"""

import shutil
from pathlib import Path

from services.trainer.training.config import write_whole

COMPLETE = "complete"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")


def checkpoint(folder: Path, step: int) -> Path:
    return folder / f"checkpoint-{step}"


def kept(folder: Path, step: int) -> Path:
    return folder / f"step-{step}"


def step_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def complete(folder: Path, step: int, seconds: float) -> None:
    write_whole(checkpoint(folder, step) / COMPLETE, f"{seconds:.1f}")


def last_checkpoint(folder: Path, *, sweep: bool) -> Path | None:
    """The newest complete checkpoint; ``sweep`` removes those cut off."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if (path / COMPLETE).exists():
            whole.append(path)
        elif sweep:
            shutil.rmtree(path)
    return max(whole, key=step_of, default=None)


def trained_seconds(path: Path | None) -> float:
    return 0.0 if path is None else float((path / COMPLETE).read_text() or 0)


def keep_adapter(source: Path, target: Path) -> None:
    """Copy the adapter out of a checkpoint, which is removed in time; whole or not at all."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(target, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ADAPTER:
        shutil.copyfile(source / name, partial / name)
    partial.replace(target)


def kept_steps(folder: Path) -> list[int]:
    """Steps whose adapters were kept, in order."""
    return sorted(step_of(path) for path in folder.glob("step-*") if path.suffix != ".partial")
