"""A worker that is killed, and one that is given a file made to keep it busy."""

from pathlib import Path

from sqlalchemy import func, select

from services.retriever.models import PassageVector
from services.retriever.settings import RetrieverSettings
from tests.faults.retriever.workers import ingestion_when, kill, worker
from tests.services.retriever.conftest import Library, Retriever
from tests.services.retriever.parsing.samples import slow_pdf


def test_an_ingestion_survives_the_kill_of_its_worker(
    retriever: Retriever, retriever_settings: RetrieverSettings, tmp_path: Path
) -> None:
    passages = [
        {"id": str(n), "text": f"Crate {n} was weighed at {n * 3} kilograms and put on shelf {n}."}
        for n in range(1_000)
    ]
    store_id = retriever.store()
    sent = retriever.send(store_id, passages)
    with worker(retriever_settings, tmp_path) as first:
        begun = ingestion_when(retriever, sent, lambda now: now["embedded"] > 0)
        kill(first)
    left = ingestion_when(retriever, sent, lambda now: True)
    assert begun["status"] == left["status"] == "in_progress"
    assert 0 < left["embedded"] < len(passages)

    # The second worker finds the row leased to a dead one, and takes it over when the lease ends.
    with worker(retriever_settings, tmp_path):
        done = ingestion_when(retriever, sent, lambda now: now["status"] != "in_progress")
    assert (done["status"], done["embedded"]) == ("completed", len(passages))
    assert retriever.http.get(f"/v1/vector_stores/{store_id}").json()["passages"] == len(passages)
    with retriever.db.transaction() as session:
        count = select(func.count()).where(PassageVector.store_id == store_id)
        assert session.scalar(count) == len(passages)
    assert retriever.search(store_id, "How heavy was crate 123?", mode="text")[0] == "123"


def test_a_file_survives_the_kill_of_its_worker(
    library: Library, retriever_settings: RetrieverSettings, tmp_path: Path
) -> None:
    retriever, lines = library.retriever, 1_000
    text = "".join(f'"Barrel {n} came from harbour {n * 7} in {n}."\n' for n in range(lines))
    store_id = retriever.store()
    file = library.client.vector_stores.files.create(
        store_id, file_id=library.upload("barrels.jsonl", text)
    )
    sent = {"id": file.model_dump()["ingestion_id"], "vector_store_id": store_id}
    with worker(retriever_settings, tmp_path) as first:
        begun = ingestion_when(retriever, sent, lambda now: now["embedded"] > 0)
        kill(first)
    assert begun["received"] == lines
    with worker(retriever_settings, tmp_path):
        done = ingestion_when(retriever, sent, lambda now: now["status"] != "in_progress")
    assert (done["status"], done["received"], done["embedded"]) == ("completed", lines, lines)
    there = library.client.vector_stores.files
    parts = [part.text for part in there.content(file.id, vector_store_id=store_id)]
    assert parts == [f"Barrel {n} came from harbour {n * 7} in {n}." for n in range(lines)]
    assert retriever.http.get(f"/v1/vector_stores/{store_id}").json()["passages"] == lines


def test_a_file_made_to_take_for_ever_fails_and_the_next_is_read(
    library: Library, retriever_settings: RetrieverSettings, tmp_path: Path
) -> None:
    stores = library.client.vector_stores
    names = {"slow.pdf": slow_pdf(), "good.md": b"The anvil is *heavy*."}
    files = {name: library.upload(name, content) for name, content in names.items()}
    store = stores.create()
    for file_id in files.values():
        stores.files.create(store.id, file_id=file_id)
    hasty = retriever_settings.model_copy(update={"max_file_seconds": 5.0})
    with worker(hasty, tmp_path):
        ended = {
            name: stores.files.poll(file_id, vector_store_id=store.id, poll_interval_ms=100)
            for name, file_id in files.items()
        }
    assert ended["good.md"].status == "completed"
    assert ended["slow.pdf"].status == "failed"
    error = ended["slow.pdf"].last_error
    assert error is not None
    assert (error.code, "within 5 seconds" in error.message) == ("invalid_file", True)
    assert stores.retrieve(store.id).file_counts.failed == 1
