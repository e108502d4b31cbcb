"""A folder of data from a source, with a manifest of what is in it and where it comes from."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from fineproof.data.example import Example, Source
from fineproof.data.reading import CORPUS, TEST, TRAIN, dumped, sha256_of
from fineproof.data.sampling import SIZES, Sample, sample
from fineproof.errors import UserError

MANIFEST = "manifest.json"


def prepare_folder(
    source: Source,
    out: Path,
    *,
    pairs: int,
    items: int,
    seed: int,
    advance: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Write the three files and ``manifest.json`` into ``out``; gives the manifest.

    The same source, seed and sizes give the same bytes. ``out`` must be new or empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is there already; name a folder that is new or empty.")
    chosen = sample(source, pairs=pairs, items=items, seed=seed, tick=_ticks(advance))
    out.mkdir(parents=True, exist_ok=True)
    _write(out / CORPUS, (passage.row() for passage in chosen.corpus))
    _write(out / TRAIN, (example.row() for example in chosen.train))
    _write(out / TEST, (example.row() for example in chosen.test))
    manifest = _manifest(source, out, chosen, seed)
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2, ensure_ascii=False) + "\n")
    return manifest


def _ticks(advance: Callable[[], None]) -> Iterator[None]:
    while True:
        advance()
        yield


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as target:
        target.writelines(map(dumped, rows))


def _manifest(source: Source, out: Path, chosen: Sample, seed: int) -> dict[str, Any]:
    return {
        "name": source.name,
        "source": source.origin,
        "licence": source.licence,
        "seed": seed,
        "counts": {
            "passages": len(chosen.corpus),
            "pairs": len(chosen.train),
            "items": len(chosen.test),
            "train_documents": _documents(chosen.train),
            "test_documents": _documents(chosen.test),
        },
        "files": {name: sha256_of(out / name) for name in (CORPUS, TRAIN, TEST)},
        "samples": _nested(out / TRAIN),
    }


def _documents(examples: Iterable[Example]) -> int:
    return len({document for example in examples for document in example.documents})


def _nested(train: Path) -> dict[str, str]:
    """SHA-256 of the first 200, 500, 1,000 lines and of all: what an experiment of that size
    trains on."""
    running, found = hashlib.sha256(), []
    with train.open("rb") as source:
        for line in source:
            running.update(line)
            found.append(running.hexdigest())
    sizes = sorted({*(size for size in SIZES if size <= len(found)), len(found)})
    return {str(size): found[size - 1] for size in sizes}
