"""Disks that are full: the one that bodies pass over, and PostgreSQL's."""

import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text

from fineproof.local.postgres import account
from tests.faults.conftest import fill, small_disk
from tests.servers import Server
from tests.services.retriever.conftest import Retriever, running, settings_of

LINES = "".join(f'{{"id": "{n}", "text": "{"Crate. " * 20}"}}\n' for n in range(50_000))


def send(retriever: Retriever, store_id: str) -> httpx.Response:
    return retriever.http.post(f"/v1/vector_stores/{store_id}/passages", content=LINES)


def assert_full(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert answer.json()["error"]["code"] == "disk_full"
    assert int(answer.headers["retry-after"]) >= 1


def test_a_body_that_its_disk_does_not_hold_is_refused_whole(
    retriever: Retriever, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_id = retriever.store()
    with small_disk(tmp_path / "disk", mebibytes=1) as disk:
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        assert_full(send(retriever, store_id))
        assert retriever.search(store_id, "crate") == []
        assert not list(disk.iterdir())
        monkeypatch.undo()
    assert send(retriever, store_id).status_code == 202


@dataclass
class Cramped:
    """A retriever whose database, but for the write-ahead log, is on a small disk."""

    retriever: Retriever
    disk: Path


@pytest.fixture
def cramped(postgres: Server, redis_url: str, tmp_path: Path) -> Iterator[Cramped]:
    with small_disk(tmp_path / "disk", mebibytes=64) as disk:
        shutil.chown(disk, account())
        admin = create_engine(postgres.url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"create tablespace small location '{disk}'"))
            connection.execute(text("create database cramped tablespace small"))
        admin.dispose()
        url = make_url(postgres.url).set(database="cramped")
        settings = settings_of(url.render_as_string(hide_password=False), redis_url)
        with running(settings) as retriever:
            yield Cramped(retriever, disk)
        postgres.stop()


def test_passages_that_postgresql_has_no_room_for_are_refused_whole(cramped: Cramped) -> None:
    retriever = cramped.retriever
    store_id = retriever.fill([{"id": "anvil", "text": "The anvil is heavy."}])
    ballast = fill(cramped.disk)
    assert_full(send(retriever, store_id))
    assert retriever.search(store_id, "anvil") == ["anvil"]
    ballast.unlink()
    few = [{"id": "saw", "text": "The saw is blunt."}]
    retriever.embed(retriever.send(store_id, few)["id"])
    assert set(retriever.search(store_id, "tools")) == {"anvil", "saw"}


def test_vectors_that_postgresql_has_no_room_for_are_tried_again(cramped: Cramped) -> None:
    retriever = cramped.retriever
    store_id = retriever.store()
    passages = [{"id": str(n), "text": f"Crate {n}."} for n in range(300)]
    sent = retriever.send(store_id, passages)
    here = f"/v1/vector_stores/{store_id}/ingestions/{sent['id']}"
    ballast = fill(cramped.disk)
    retriever.embed(sent["id"])
    waiting = retriever.http.get(here).json()
    assert (waiting["status"], waiting["embedded"]) == ("in_progress", 0)
    assert "No space left" in waiting["error"]
    ballast.unlink()
    retriever.embed(sent["id"])
    done = retriever.http.get(here).json()
    assert (done["status"], done["embedded"], done["error"]) == ("completed", 300, None)
    assert len(retriever.search(store_id, "crate", max_num_results=50)) == 50
