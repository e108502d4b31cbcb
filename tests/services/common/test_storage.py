import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.common.errors import FineproofError
from services.common.storage import ArtifactStore


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob("*.partial"))


def broken() -> Iterator[bytes]:
    yield b"half"
    raise ConnectionError


async def broken_stream() -> AsyncIterator[bytes]:
    for block in broken():
        yield block


def test_what_is_written_is_read_and_hashed(storage_url: str) -> None:
    store = ArtifactStore(storage_url)
    stored = store.write("files/a", iter([b"one ", b"two"]))
    assert store.read_bytes("files/a") == b"one two"
    assert b"".join(store.iter_bytes("files/a")) == b"one two"
    assert stored.bytes == store.size("files/a") == 7
    assert stored.sha256 == hashlib.sha256(b"one two").hexdigest()


def test_a_write_that_breaks_leaves_nothing(storage_url: str, tmp_path: Path) -> None:
    store = ArtifactStore(storage_url)
    with pytest.raises(ConnectionError):
        store.write("files/a", broken())
    assert not store.exists("files/a")
    assert leftovers(tmp_path) == []


async def test_a_stream_that_breaks_leaves_nothing(storage_url: str, tmp_path: Path) -> None:
    store = ArtifactStore(storage_url)
    with pytest.raises(ConnectionError):
        await store.write_stream("files/a", broken_stream())
    assert not store.exists("files/a")
    assert leftovers(tmp_path) == []


def test_a_failed_overwrite_keeps_the_old_content(storage_url: str) -> None:
    store = ArtifactStore(storage_url)
    store.write_bytes("files/a", b"old")
    with pytest.raises(ConnectionError):
        store.write("files/a", broken())
    assert store.read_bytes("files/a") == b"old"


@pytest.mark.parametrize("key", ["../etc/passwd", "/etc/passwd", "a//b", "a/../b", ".hidden", ""])
def test_a_key_never_leaves_the_store(storage_url: str, key: str) -> None:
    with pytest.raises(FineproofError):
        ArtifactStore(storage_url).exists(key)


def test_the_same_code_speaks_to_another_filesystem() -> None:
    store = ArtifactStore("memory://bucket/prefix")
    store.write_bytes("a/b", b"x")
    assert store.read_bytes("a/b") == b"x"
    store.delete("a")
    assert not store.exists("a/b")
