"""An adapter's files, from the artifact store into a folder that vLLM reads and nobody changes.

The folder is named by what is in it. vLLM keys its prefix cache on an adapter's name and path: a
path whose content could change would answer from a state that is gone.
"""

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

import structlog

from services.common.contracts.trainer import AdapterFile, AdapterRecord
from services.common.errors import Unavailable
from services.common.storage import CHUNK, ArtifactStore
from services.generator.refusal import AdapterCorrupt
from services.generator.weights import WEIGHTS

log = structlog.get_logger(__name__)

CONFIG = "adapter_config.json"
CANARY = "canary.json"
NEEDED = (CONFIG, WEIGHTS, CANARY)
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def needed_files(record: AdapterRecord) -> dict[str, AdapterFile]:
    """The three files that are copied; whatever else lies beside them stays where it is."""
    listed = {file.name: file for file in record.files}
    missing = [name for name in NEEDED if name not in listed]
    if missing:
        raise AdapterCorrupt(f"The registry lists no {missing[0]} for '{record.id}'.")
    if listed[WEIGHTS].sha256 != record.sha256:
        raise AdapterCorrupt(f"The registry names two different hashes for {WEIGHTS}.")
    return {name: listed[name] for name in NEEDED}


def folder_name(record: AdapterRecord) -> str:
    """``<job>-<step>-<12 hex over all three files>``: the configuration counts like the weights."""
    files = needed_files(record)
    content = "\n".join(f"{name} {file.sha256}" for name, file in sorted(files.items()))
    digest = hashlib.sha256(content.encode()).hexdigest()
    if not _PLAIN.fullmatch(record.job_id):
        raise AdapterCorrupt(f"'{record.job_id}' is not a job's id.")
    return f"{record.job_id}-{record.step}-{digest[:12]}"


def fetch(record: AdapterRecord, store: ArtifactStore, cache: Path) -> Path:
    """The folder of verified files, copied if it is not there yet.

    Every file is hashed each time: what lies in the cache may have been changed under its name.
    """
    folder = cache / folder_name(record)
    files = needed_files(record)
    if folder.is_dir():
        try:
            _verify(folder, files)
        except AdapterCorrupt as error:
            log.warning("cached_adapter_changed", folder=str(folder), error=error.message)
            shutil.rmtree(folder)
        else:
            return folder
    key = _key(record, store)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as scratch:
        fresh = Path(scratch, "adapter")
        fresh.mkdir(mode=0o755)
        for name in files:
            try:
                store.fetch(f"{key}/{name}", fresh / name)
            except FileNotFoundError as error:
                raise AdapterCorrupt(f"{name} of '{record.id}' is gone from the store.") from error
            except OSError as error:
                raise Unavailable(
                    f"The artifact store cannot be read ({type(error).__name__}).",
                    code="storage_unavailable",
                ) from error
        _verify(fresh, files)
        try:
            fresh.rename(folder)
        except OSError:  # another process was first, with the same content
            _verify(folder, files)
    return folder


def _key(record: AdapterRecord, store: ArtifactStore) -> str:
    key = record.url.removeprefix(f"{store.url}/").rstrip("/")
    if key == record.url or not all(map(_PLAIN.fullmatch, key.split("/"))):
        raise AdapterCorrupt(
            f"'{record.id}' lies outside this service's artifact store; the trainer's STORAGE_URL "
            "and the generator's must be the same."
        )
    return key


def _verify(folder: Path, files: dict[str, AdapterFile]) -> None:
    for name, file in files.items():
        try:
            found = _sha256(folder / name)
        except FileNotFoundError as error:
            raise AdapterCorrupt(f"{name} is missing.") from error
        if found != file.sha256:
            raise AdapterCorrupt(
                f"{name} is not the file that was registered: its SHA-256 starts with "
                f"{found[:12]}, the registered one with {file.sha256[:12]}."
            )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
