import os
import shutil
from pathlib import Path

import pytest

from bench.registry import publish
from services.common.contracts.trainer import AdapterRecord
from services.common.errors import Unavailable
from services.common.storage import ArtifactStore
from services.generator.adapters.artifacts import NEEDED, AdapterCache, folder_name
from services.generator.adapters.refusal import AdapterCorrupt
from tests.services.generator.registry import folder_of
from tests.services.generator.tiny import tiny_adapter

NAME = "ft:tiny:demo:ftjob-1"


@pytest.fixture
def store(storage_url: str) -> ArtifactStore:
    return ArtifactStore(storage_url)


@pytest.fixture
def record(store: ArtifactStore, tmp_path: Path) -> AdapterRecord:
    folder = tiny_adapter(tmp_path / "adapter", base_model="tiny")
    (folder / "optimizer.pt").write_bytes(b"\x80pickle")
    return publish(store, NAME, folder, base_model="tiny")


def test_the_three_files_arrive_in_a_folder_named_by_their_content(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path
) -> None:
    folder = AdapterCache(store, tmp_path / "cache").fetch(record)
    assert folder.name == folder_name(record)
    assert folder.name.startswith("ftjob-1-1-")
    assert {file.name for file in folder.iterdir()} == set(NEEDED)
    assert [f.name for f in (tmp_path / "cache").iterdir()] == [folder.name]
    assert folder.stat().st_mode & 0o055 == 0o055, "vLLM may run as another user"


def test_a_changed_configuration_gets_a_folder_of_its_own(record: AdapterRecord) -> None:
    files = [
        file.model_copy(update={"sha256": "0" * 64}) if file.name == "adapter_config.json" else file
        for file in record.files
    ]
    assert folder_name(record.model_copy(update={"files": files})) != folder_name(record)


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_was_changed_in_the_store_is_refused(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path, name: str
) -> None:
    (folder_of(record) / name).write_bytes(b"something else")
    with pytest.raises(AdapterCorrupt, match=f"{name} is not the file that was registered"):
        AdapterCache(store, tmp_path / "cache").fetch(record)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_was_changed_in_the_cache_is_fetched_again(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path, name: str
) -> None:
    folder = AdapterCache(store, tmp_path / "cache").fetch(record)
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(b"swapped")
    assert AdapterCache(store, tmp_path / "cache").fetch(record) == folder
    assert (folder / name).read_bytes() == before


def test_a_cached_adapter_needs_no_store(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path
) -> None:
    folder = AdapterCache(store, tmp_path / "cache").fetch(record)
    shutil.rmtree(folder_of(record))
    assert AdapterCache(store, tmp_path / "cache").fetch(record) == folder


def test_what_nobody_wants_leaves_the_cache_once_it_is_idle(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path
) -> None:
    cache = AdapterCache(store, tmp_path / "cache")
    folder = cache.fetch(record)
    (half := folder.with_name(".fetching-1234")).mkdir()
    cache.sweep([], idle=3600)
    assert folder.is_dir()
    assert half.is_dir()
    for each in (folder, half):
        os.utime(each, (0, 0))
    cache.sweep([folder.name], idle=3600)
    assert list(folder.parent.iterdir()) == [folder]
    assert cache.fetch(record) == folder  # which is a use of it
    cache.sweep([], idle=3600)
    assert folder.is_dir()
    os.utime(folder, (0, 0))
    cache.sweep([], idle=3600)
    assert list(folder.parent.iterdir()) == []
    assert cache.fetch(record) == folder


def test_a_file_gone_from_the_store_is_corrupt(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path
) -> None:
    (folder_of(record) / "canary.json").unlink()
    with pytest.raises(AdapterCorrupt, match=r"canary\.json"):
        AdapterCache(store, tmp_path / "cache").fetch(record)


def test_an_unreadable_store_is_not_held_against_the_adapter(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise PermissionError("denied")

    monkeypatch.setattr(ArtifactStore, "fetch", fails)
    with pytest.raises(Unavailable):
        AdapterCache(store, tmp_path / "cache").fetch(record)


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "file:///etc"},
        {"url": "{store}/../../etc"},
        {"url": "{store}/adapters/%2e%2e/x"},
        {"url": "{store}"},
        {"job_id": "../../x"},
        {"job_id": ""},
        {"sha256": "0" * 64},
        {"files": []},
    ],
)
def test_a_record_that_points_elsewhere_or_contradicts_itself_is_refused(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path, changes: dict[str, object]
) -> None:
    values = record.model_dump() | changes
    values["url"] = str(values["url"]).replace("{store}", store.url)
    with pytest.raises(AdapterCorrupt):
        AdapterCache(store, tmp_path / "cache").fetch(AdapterRecord.model_validate(values))
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())
