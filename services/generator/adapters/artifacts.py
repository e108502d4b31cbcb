"""An adapter's files, from the artifact store into a folder that vLLM reads and nobody changes.

The folder is named by what is in it. vLLM keys its prefix cache on an adapter's name and path: a
path whose content could change would answer from a state that is gone.
"""

import hashlib
import re
import shutil
import tempfile
import time
from collections.abc import Collection
from pathlib import Path

import structlog

from services.common.contracts.trainer import AdapterFile, AdapterRecord
from services.common.errors import Unavailable
from services.common.storage import CHUNK, ArtifactStore
from services.generator.adapters.refusal import AdapterCorrupt
from services.generator.adapters.weights import WEIGHTS

log = structlog.get_logger(__name__)

CONFIG = "adapter_config.json"
CANARY = "canary.json"
NEEDED = (CONFIG, WEIGHTS, CANARY)
_ASIDE = ".swept-"
Stamps = tuple[tuple[int, int, int, int] | None, ...]

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


class AdapterCache:
    """The folder that every vLLM replica reads adapters from."""

    def __init__(self, store: ArtifactStore, root: Path) -> None:
        self.root = root.absolute()
        self._store = store
        self._seen: dict[Path, Stamps] = {}

    def fetch(self, record: AdapterRecord) -> Path:
        """The folder of verified files, copied if it is not there yet.

        Every file is hashed each time: what lies there may have been changed under its name.
        """
        folder = self.root / folder_name(record)
        files = needed_files(record)
        if folder.is_dir():
            try:
                self._verify(folder, files)
            except AdapterCorrupt as error:
                log.warning("cached_adapter_changed", folder=str(folder), error=error.message)
                shutil.rmtree(folder)
            else:
                folder.touch()  # so that nobody sweeps it away from under vLLM
                return folder
        key = _key(record, self._store)
        self.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.root, prefix=".fetching-") as scratch:
            fresh = Path(scratch, "adapter")
            fresh.mkdir(mode=0o755)
            for name in files:
                self._copy(record, f"{key}/{name}", fresh / name)
            stamps = _stamps(fresh)
            _verify(fresh, files)
            try:
                fresh.rename(folder)
            except OSError:  # another process was first, with the same content
                self._verify(folder, files)
            else:
                self._seen[folder] = stamps
        return folder

    def check(self, record: AdapterRecord) -> None:
        """Raise :class:`AdapterCorrupt` when a file of a loaded adapter is not what was proven.

        Files are hashed again only when they were touched since; those that are gone come back.
        """
        folder, files = self.root / folder_name(record), needed_files(record)
        stamps = _stamps(folder)
        if self._seen.get(folder) == stamps:
            return
        left = {name: files[name] for name, stamp in zip(NEEDED, stamps, strict=True) if stamp}
        self._verify(folder, left)
        if len(left) < len(files):
            self.fetch(record)

    def sweep(self, keep: Collection[str], *, idle: float) -> None:
        """Delete folders that no name in ``keep`` names and nobody fetched for ``idle`` seconds.

        What a killed process left half-fetched goes, too.
        """
        if not self.root.is_dir():
            return
        for folder in self.root.iterdir():
            if folder.name in keep:
                continue
            try:
                if time.time() - folder.stat().st_mtime < idle:
                    continue
                aside = folder.with_name(f"{_ASIDE}{folder.name.lstrip('.')}")
                if folder != aside:
                    folder.rename(aside)  # nobody finds half of it
                shutil.rmtree(aside)
            except OSError as error:  # another generator was first, or it is not ours to delete
                log.info("cached_adapter_kept", folder=str(folder), error=repr(error))
            else:
                self._seen.pop(folder, None)
                log.info("cached_adapter_deleted", folder=str(folder))

    def _verify(self, folder: Path, files: dict[str, AdapterFile]) -> None:
        before = _stamps(folder)  # what is changed while it is hashed is hashed again
        self._seen.pop(folder, None)
        _verify(folder, files)
        self._seen[folder] = before

    def _copy(self, record: AdapterRecord, key: str, target: Path) -> None:
        try:
            self._store.fetch(key, target)
        except FileNotFoundError as error:
            raise AdapterCorrupt(
                f"{target.name} of '{record.id}' is gone from the store."
            ) from error
        except OSError as error:
            raise Unavailable(
                f"The artifact store cannot be read ({type(error).__name__}).",
                code="storage_unavailable",
            ) from error


def _stamps(folder: Path) -> Stamps:
    """Of each needed file: inode, size, and when it or its name last changed; null when gone."""
    stamps: list[tuple[int, int, int, int] | None] = []
    for name in NEEDED:
        try:
            seen = (folder / name).stat()
        except OSError:
            stamps.append(None)
        else:
            stamps.append((seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns))
    return tuple(stamps)


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
        except OSError as error:
            raise Unavailable(
                f"The adapter cache cannot be read ({type(error).__name__}).",
                code="adapter_cache_unavailable",
            ) from error
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
