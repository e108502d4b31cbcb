"""What a base model's weights are called by whoever trains on them, serves or measures them."""

import hashlib
from pathlib import Path


def revision(folder: Path) -> str:
    """The commit of a snapshot in the Hugging Face hub's cache; of any other folder ``sha256:`` and
    a hash (hex) over its safetensors files, in the order of their names.

    Reads all of them. Raises ``FileNotFoundError`` where there is none.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FileNotFoundError(f"no safetensors file in {folder}")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as weights:
            digest.update(hashlib.file_digest(weights, "sha256").digest())
    return f"sha256:{digest.hexdigest()}"
