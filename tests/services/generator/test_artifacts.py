import shutil
from pathlib import Path

import pytest

from services.common.contracts.trainer import AdapterRecord
from services.common.errors import Unavailable
from services.common.storage import ArtifactStore
from services.generator.artifacts import NEEDED, fetch, folder_name
from services.generator.refusal import AdapterCorrupt
from tests.services.generator.registry import folder_of, publish
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
    folder = fetch(record, store, tmp_path / "cache")
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
        fetch(record, store, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("name", NEEDED)
def test_a_file_that_was_changed_in_the_cache_is_fetched_again(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path, name: str
) -> None:
    folder = fetch(record, store, tmp_path / "cache")
    before = (folder / name).read_bytes()
    (folder / name).write_bytes(b"swapped")
    assert fetch(record, store, tmp_path / "cache") == folder
    assert (folder / name).read_bytes() == before


def test_a_cached_adapter_needs_no_store(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path
) -> None:
    folder = fetch(record, store, tmp_path / "cache")
    shutil.rmtree(folder_of(record))
    assert fetch(record, store, tmp_path / "cache") == folder


def test_a_file_gone_from_the_store_is_corrupt(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path
) -> None:
    (folder_of(record) / "canary.json").unlink()
    with pytest.raises(AdapterCorrupt, match=r"canary\.json"):
        fetch(record, store, tmp_path / "cache")


def test_an_unreadable_store_is_not_held_against_the_adapter(
    record: AdapterRecord, store: ArtifactStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise PermissionError("denied")

    monkeypatch.setattr(ArtifactStore, "fetch", fails)
    with pytest.raises(Unavailable):
        fetch(record, store, tmp_path / "cache")


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
        fetch(AdapterRecord.model_validate(values), store, tmp_path / "cache")
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())
