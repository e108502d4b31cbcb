from pathlib import Path

import pytest

from services.common.weights import revision


def folder(path: Path, **weights: bytes) -> Path:
    path.mkdir(parents=True)
    for name, content in weights.items():
        (path / f"{name}.safetensors").write_bytes(content)
    return path


def test_a_folder_is_named_by_its_weights_alone(tmp_path: Path) -> None:
    one = folder(tmp_path / "one", a=b"1", b=b"2")
    same = folder(tmp_path / "two", b=b"2", a=b"1")
    (same / "README.md").write_text("Other words.")
    others = [
        folder(tmp_path / "three", a=b"1", b=b"3"),
        folder(tmp_path / "four", a=b"12"),
        folder(tmp_path / "five", a=b"2", b=b"1"),
    ]
    assert revision(one) == revision(same)
    assert revision(one).startswith("sha256:")
    assert len({revision(one), *map(revision, others)}) == 4


def test_a_snapshot_of_the_hub_is_named_by_its_commit(tmp_path: Path) -> None:
    snapshot = folder(tmp_path / "models--a--b" / "snapshots" / "0123abcd", a=b"1")
    assert revision(snapshot) == "0123abcd"


def test_a_folder_without_weights_has_no_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no safetensors"):
        revision(tmp_path)
