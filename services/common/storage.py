"""The artifact store: uploads, training data, adapters and reports, behind one fsspec URL.

A folder by default, S3 or GCS by URL. Keys are made by us (ids, hashes, fixed names); nothing a
client sends becomes part of one.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import anyio.to_thread
import fsspec

from services.common.errors import FineproofError

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.=-]*(/[A-Za-z0-9][A-Za-z0-9_.=-]*)*")

CHUNK = 2**20


@dataclass(frozen=True)
class Stored:
    """What was written: its size in bytes and its SHA-256 in hex."""

    bytes: int
    sha256: str


class ArtifactStore:
    """Files under one URL, written whole or not at all."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self._fs, self._root = fsspec.core.url_to_fs(self.url)
        self._fs.makedirs(self._root, exist_ok=True)

    def _path(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise FineproofError(f"Not an artifact key: {key!r}")
        return str(PurePosixPath(self._root, key))

    def url_of(self, key: str) -> str:
        self._path(key)
        return f"{self.url}/{key}"

    def exists(self, key: str) -> bool:
        return bool(self._fs.exists(self._path(key)))

    def size(self, key: str) -> int:
        return int(self._fs.size(self._path(key)))

    def open(self, key: str) -> Any:
        """A binary file to read; ``FileNotFoundError`` when there is none."""
        return self._fs.open(self._path(key), "rb")

    def read_bytes(self, key: str) -> bytes:
        return bytes(self._fs.cat_file(self._path(key)))

    def iter_bytes(self, key: str) -> Iterator[bytes]:
        with self.open(key) as source:
            while block := source.read(CHUNK):
                yield block

    def write_bytes(self, key: str, content: bytes) -> Stored:
        return self.write(key, iter([content]))

    def write(self, key: str, blocks: Iterator[bytes]) -> Stored:
        """Write a stream; the key appears only when the last block is in."""
        with self._writing(key) as (target, seen):
            for block in blocks:
                target.write(block)
                seen.update(block)
        return seen.stored()

    async def write_stream(self, key: str, blocks: AsyncIterator[bytes]) -> Stored:
        """As :meth:`write`, from an asynchronous stream such as a request's body."""
        writing = self._writing(key)
        target, seen = await anyio.to_thread.run_sync(writing.__enter__)
        try:
            async for block in blocks:
                seen.update(block)
                await anyio.to_thread.run_sync(target.write, block)
        except BaseException as error:
            writing.__exit__(type(error), error, error.__traceback__)
            raise
        await anyio.to_thread.run_sync(writing.__exit__, None, None, None)
        return seen.stored()

    def put(self, key: str, local: Path) -> Stored:
        """Copy a local file in."""
        with local.open("rb") as source:
            return self.write(key, iter(lambda: source.read(CHUNK), b""))

    def fetch(self, key: str, local: Path) -> None:
        """Copy a file out, to a local path whose folder exists."""
        self._fs.get_file(self._path(key), str(local))

    def delete(self, key: str) -> None:
        """Remove a file or a folder, and what a write that was cut off has left of it.

        Nothing happens when it is gone already.
        """
        for path in (self._path(key), _partial(self._path(key))):
            if self._fs.exists(path):
                self._fs.rm(path, recursive=True)

    def _writing(self, key: str) -> "_Writing":
        return _Writing(self._fs, self._path(key))


class _Seen:
    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._bytes = 0

    def update(self, block: bytes) -> None:
        self._hash.update(block)
        self._bytes += len(block)

    def stored(self) -> Stored:
        return Stored(bytes=self._bytes, sha256=self._hash.hexdigest())


def _partial(path: str) -> str:
    return f"{path}.partial"


class _Writing:
    """A file being written under another name: renamed on success, else gone."""

    def __init__(self, fs: Any, path: str) -> None:
        self._fs = fs
        self._path = path
        self._partial = _partial(path)

    def __enter__(self) -> tuple[Any, _Seen]:
        self._fs.makedirs(str(PurePosixPath(self._path).parent), exist_ok=True)
        self._file = self._fs.open(self._partial, "wb")
        return self._file, _Seen()

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self._file.close()
        if kind is not None:
            self._fs.rm_file(self._partial)
            return
        self._fs.mv(self._partial, self._path)
