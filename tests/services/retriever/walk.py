"""All of ``/v1/vector_stores``, walked with the ``openai`` that this process imports.

    python walk.py URL

Says nothing but the client's version, when every answer was as that client reads it. Files are
read by whoever works at URL.
"""

import io
import sys
from typing import Any

import openai
from openai.types.vector_stores import VectorStoreFile

CHUNKING: Any = {
    "type": "static",
    "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 20},
}
BOILER = "The boiler stands in hall four. It is serviced in May by two people. " * 40
MENU = "# Canteen\n\nLunch is *soup* on Mondays."


def main(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    sent = client.files.create(file=("boiler.txt", BOILER.encode()), purpose="assistants")
    store = client.vector_stores.create(
        name="walk",
        metadata={"client": openai.__version__},
        file_ids=[sent.id],
        chunking_strategy=CHUNKING,
        expires_after={"anchor": "last_active_at", "days": 3},
    )
    assert (store.object, store.status, store.file_counts.total) == (
        "vector_store",
        "in_progress",
        1,
    )
    assert store.expires_after is not None
    assert store.last_active_at is not None
    assert store.expires_at == store.last_active_at + 3 * 86_400
    first = client.vector_stores.files.poll(sent.id, vector_store_id=store.id, poll_interval_ms=50)
    assert (first.status, first.last_error, first.object) == (
        "completed",
        None,
        "vector_store.file",
    )
    assert isinstance(first.chunking_strategy, object)
    assert first.chunking_strategy is not None
    assert first.chunking_strategy.model_dump() == CHUNKING
    menu = files(client, store.id, first)
    batches(client, store.id)
    search(client, store.id, first, menu)
    ends(client, store.id, menu)
    print(openai.__version__)


def files(client: openai.OpenAI, store_id: str, first: VectorStoreFile) -> VectorStoreFile:
    there = client.vector_stores.files
    upload = io.BytesIO(MENU.encode())
    upload.name = "menu.md"
    menu = there.upload_and_poll(vector_store_id=store_id, file=upload, poll_interval_ms=50)
    assert menu.status == "completed", menu.last_error
    assert menu.usage_bytes > 0
    changed = there.update(menu.id, vector_store_id=store_id, attributes={"site": "north", "no": 7})
    assert changed.attributes == {"site": "north", "no": 7}
    assert there.retrieve(menu.id, vector_store_id=store_id) == changed
    assert [part.text for part in there.content(menu.id, vector_store_id=store_id)] == [
        "Canteen\n\nLunch is soup on Mondays."
    ]
    listed = [file.id for file in there.list(store_id, limit=1, filter="completed")]
    assert listed == [menu.id, first.id]
    assert [file.id for file in there.list(store_id, order="asc", before=menu.id)] == [first.id]
    assert not there.list(store_id, filter="failed").data
    return menu


def batches(client: openai.OpenAI, store_id: str) -> None:
    there = client.vector_stores.file_batches
    notes = []
    for n in range(2):
        note = io.BytesIO(f"Note {n} says that crate {n} is blue.".encode())
        note.name = f"note-{n}.txt"
        notes.append(note)
    done = there.upload_and_poll(store_id, files=notes, poll_interval_ms=50)
    assert (done.object, done.status) == ("vector_store.files_batch", "completed")
    assert (done.file_counts.completed, done.file_counts.total) == (2, 2)
    assert there.retrieve(done.id, vector_store_id=store_id) == done
    page = there.list_files(done.id, vector_store_id=store_id, limit=1)
    ids = [file.id for file in page]
    assert len(ids) == 2
    again = there.create(store_id, file_ids=ids, attributes={"kind": "note"})
    stopped = there.cancel(again.id, vector_store_id=store_id)
    assert stopped.status in ("cancelled", "completed")


def search(
    client: openai.OpenAI, store_id: str, first: VectorStoreFile, menu: VectorStoreFile
) -> None:
    both: Any = {
        "type": "and",
        "filters": [
            {"type": "gte", "key": "no", "value": 7},
            {"type": "ne", "key": "site", "value": "south"},
        ],
    }
    [found] = client.vector_stores.search(
        store_id,
        query=["What is there to eat?", "soup"],
        max_num_results=1,
        rewrite_query=False,
        filters=both,
        ranking_options={"ranker": "auto", "score_threshold": 0.1},
    ).data
    assert (found.file_id, found.filename) == (menu.id, "menu.md")
    assert found.attributes == {"site": "north", "no": 7}
    assert found.content[0].type == "text"
    hits = client.vector_stores.search(store_id, query="When is the boiler serviced?").data
    assert hits[0].file_id == first.id
    assert "serviced in May" in hits[0].content[0].text


def ends(client: openai.OpenAI, store_id: str, menu: VectorStoreFile) -> None:
    full = client.vector_stores.retrieve(store_id)
    assert full.usage_bytes > len(BOILER)
    assert full.file_counts.total == 4
    gone = client.vector_stores.files.delete(menu.id, vector_store_id=store_id)
    assert (gone.id, gone.deleted, gone.object) == (menu.id, True, "vector_store.file.deleted")
    assert client.files.retrieve(menu.id).filename == "menu.md"
    assert client.vector_stores.retrieve(store_id).file_counts.total == 3
    assert store_id in [store.id for store in client.vector_stores.list(limit=1)]
    assert client.vector_stores.update(store_id, expires_after=None).expires_at is None
    assert client.vector_stores.delete(store_id).deleted


if __name__ == "__main__":
    main(*sys.argv[1:])
