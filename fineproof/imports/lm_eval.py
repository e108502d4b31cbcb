"""lm-evaluation-harness: ``samples_<task>_<time>.jsonl``, as ``--log_samples`` writes them."""

import re
from pathlib import Path
from typing import Any

from fineproof.errors import UserError
from fineproof.imports import Fields, Imported, Tool

NO_SAMPLES = (
    "These are lm-evaluation-harness's results: averages, without the items behind them. Run it "
    "with --log_samples and give the samples_*.jsonl it writes, or the folder that holds them."
)
_FILE = re.compile(r"samples_(?P<task>.+)_(?P<time>\d{4}-\d{2}-\d{2}T[\d.:-]+)\.jsonl(\.gz)?")
_OWN = {"doc_id", "token_counts"}


def is_summary(document: dict[str, Any]) -> bool:
    return isinstance(document.get("results"), dict) and {"configs", "versions"} <= set(document)


def sample_files(path: Path) -> list[tuple[str, Path]]:
    """(task, file) of a run: those in a folder, or beside a ``results_<time>.json``.

    Of several runs in one folder the last one of each task. Raises :class:`UserError` for none.
    """
    folder, time = (path, None) if path.is_dir() else (path.parent, path.stem.partition("_")[2])
    newest: dict[str, tuple[str, Path]] = {}
    for file in sorted(folder.rglob("samples_*.jsonl*") if time is None else folder.iterdir()):
        found = _FILE.fullmatch(file.name)
        if found is None or time not in (None, found["time"]):
            continue
        task = found["task"]
        newest[task] = max(newest.get(task, ("", file)), (found["time"], file))
    if not newest:
        raise UserError(
            f"{path} is a folder without samples_*.jsonl; give a file of scores."
            if path.is_dir()
            else f"{path}: {NO_SAMPLES}"
        )
    return [(task, file) for task, (_, file) in sorted(newest.items())]


def _matches(record: Fields) -> bool:
    return "doc_id" in record and "filtered_resps" in record


def _read(record: Fields) -> Imported:
    """Each metric under its name. ``doc_id`` numbers the item here, it names no document."""
    listed = record.get("metrics")
    names = (
        tuple(map(str, listed))
        if isinstance(listed, list)
        else tuple(
            key
            for key, value in record.items()
            if isinstance(value, bool | int | float) and key not in _OWN
        )
    )
    return Imported(
        id=record["doc_id"], fields=record, names=names, witness=record.get("doc_hash") or None
    )


TOOL = Tool("samples of lm-evaluation-harness", "doc_id", _matches, _read, choices=("filter",))
