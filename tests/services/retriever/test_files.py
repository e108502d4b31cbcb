"""Files in vector stores, as a caller meets them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from services.retriever import ingestion
from services.retriever.documents import Files
from tests.services.retriever.conftest import Library
from tests.services.retriever.parsing.samples import docx_of, pdf_of

Stores = openai.resources.VectorStores


@pytest.fixture
def stores(library: Library) -> Stores:
    return library.client.vector_stores


def test_a_file_is_searchable_once_it_is_read(library: Library, stores: Stores) -> None:
    file_id = library.upload("pump.pdf", pdf_of(["The pump is red.", "It hums at night."]))
    store = stores.create(file_ids=[file_id])
    waiting = stores.files.retrieve(file_id, vector_store_id=store.id)
    assert (waiting.status, waiting.usage_bytes) == ("in_progress", 0)
    assert waiting.chunking_strategy is not None
    assert waiting.chunking_strategy.type == "other"

    library.work()
    done = stores.files.retrieve(file_id, vector_store_id=store.id)
    assert done.status == "completed"
    [hit] = stores.search(store.id, query="What colour is the pump?").data
    assert (hit.file_id, hit.filename) == (file_id, "pump.pdf")
    assert hit.content[0].text == "The pump is red.\nIt hums at night."
    assert done.usage_bytes == len(hit.content[0].text)
    assert stores.retrieve(store.id).usage_bytes == done.usage_bytes


def test_auto_cuts_no_longer_than_the_model_reads(library: Library, stores: Stores) -> None:
    file_id = library.upload("long.txt", "It is a word that is here again. " * 300)
    store = stores.create(file_ids=[file_id], chunking_strategy={"type": "auto"})
    library.work()
    done: Any = stores.files.retrieve(file_id, vector_store_id=store.id).chunking_strategy
    reads = library.retriever.embedder.reads
    assert done.type == "static"
    assert done.static.max_chunk_size_tokens == reads
    assert done.static.chunk_overlap_tokens == reads // 2


def test_what_is_asked_of_chunks_is_kept_and_a_store_remembers_it(
    library: Library, stores: Stores
) -> None:
    own: Any = {
        "type": "static",
        "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0},
    }
    text = "".join(f"Number {n} is here. " for n in range(100))
    first, second = (library.upload(f"{n}.txt", text) for n in range(2))
    store = stores.create(file_ids=[first], chunking_strategy=own)
    stores.files.create(store.id, file_id=second)
    library.work()
    for file_id in (first, second):
        parts = [part.text for part in stores.files.content(file_id, vector_store_id=store.id)]
        assert " ".join(parts) == text.strip()
        assert len(parts) == 5


def test_content_says_once_what_chunks_share(library: Library, stores: Stores) -> None:
    text = "".join(f"Sentence number {n} stands here. " for n in range(200)).strip()
    file_id = library.upload("a.txt", text)
    store = stores.create(file_ids=[file_id])
    library.work()
    parts = [part.text for part in stores.files.content(file_id, vector_store_id=store.id)]
    assert len(parts) > 5
    assert "".join(parts).replace(" ", "") == text.replace(" ", "")
    assert stores.retrieve(store.id).usage_bytes > len(text)


def test_pages_of_blanks_are_no_passages(library: Library, stores: Stores) -> None:
    file_id = library.upload("a.txt", f"Alpha beta.{' ' * 30_000}Gamma.{chr(10) * 30_000}Delta.")
    store = stores.create(file_ids=[file_id])
    library.work()
    parts = [part.text for part in stores.files.content(file_id, vector_store_id=store.id)]
    assert parts == ["Alpha beta.", "Gamma.", "Delta."]
    assert (stores.retrieve(store.id).model_extra or {})["passages"] == 3


def test_a_broken_file_fails_alone_and_says_why(library: Library, stores: Stores) -> None:
    sent = {
        "good.docx": docx_of(["The lathe is in hall two."]),
        "bad.pdf": b"%PDF-1.4 not really",
        "table.xlsx": b"PK",
        "empty.html": b"<p></p>",
    }
    files = {name: library.upload(name, content) for name, content in sent.items()}
    store = stores.create()
    batch = stores.file_batches.create(store.id, file_ids=list(files.values()))
    library.work()
    done = stores.file_batches.retrieve(batch.id, vector_store_id=store.id)
    assert (done.status, done.file_counts.completed, done.file_counts.failed) == ("completed", 1, 3)
    errors = {
        name: stores.files.retrieve(file_id, vector_store_id=store.id).last_error
        for name, file_id in files.items()
    }
    assert errors["good.docx"] is None
    codes = {name: error.code for name, error in errors.items() if error}
    assert codes == {
        "bad.pdf": "invalid_file",
        "table.xlsx": "unsupported_file",
        "empty.html": "invalid_file",
    }
    failed = stores.file_batches.list_files(batch.id, vector_store_id=store.id, filter="failed")
    assert {file.id for file in failed} == set(files.values()) - {files["good.docx"]}
    assert [hit.filename for hit in stores.search(store.id, query="lathe").data] == ["good.docx"]


@pytest.mark.parametrize(
    ("limit", "said"),
    [({"max_file_bytes": 1024}, "bytes"), ({"max_file_characters": 1024}, "1024")],
)
def test_a_file_over_a_limit_fails_and_says_which(
    library: Library, stores: Stores, limit: dict[str, int], said: str
) -> None:
    file_id = library.upload("long.txt", "word " * 1_000)
    store = stores.create(file_ids=[file_id])
    library.work(**limit)
    failed = stores.files.retrieve(file_id, vector_store_id=store.id)
    assert failed.status == "failed"
    assert failed.last_error is not None
    assert said in failed.last_error.message


def test_a_file_deleted_before_it_is_read_fails(library: Library, stores: Stores) -> None:
    file_id = library.upload("a.txt", "Some text.")
    store = stores.create(file_ids=[file_id])
    library.client.files.delete(file_id)
    library.work()
    failed = stores.files.retrieve(file_id, vector_store_id=store.id)
    assert failed.last_error is not None
    assert failed.last_error.code == "invalid_file"


def test_a_trainer_that_is_away_is_tried_again(library: Library, stores: Stores) -> None:
    file_id = library.upload("a.txt", "The crane is yellow.")
    store = stores.create(file_ids=[file_id])
    library.work(trainer_url="http://127.0.0.1:9")
    assert stores.files.retrieve(file_id, vector_store_id=store.id).status == "in_progress"
    library.work()
    assert stores.files.retrieve(file_id, vector_store_id=store.id).status == "completed"


def test_what_keeps_failing_on_our_side_is_a_server_error(library: Library, stores: Stores) -> None:
    store = stores.create(file_ids=[library.upload("a.txt", "Some text.")])
    for _ in range(ingestion.MAX_ATTEMPTS + 1):
        library.work(trainer_url="http://127.0.0.1:9")
    [failed] = stores.files.list(store.id).data
    assert failed.last_error is not None
    assert failed.last_error.code == "server_error"
    assert "cannot be reached" in failed.last_error.message


def test_attributes_filter_what_a_file_says(library: Library, stores: Stores) -> None:
    store = stores.create()
    for year in (2019, 2021):
        file_id = library.upload(f"{year}.txt", "The annual report.")
        stores.files.create(store.id, file_id=file_id, attributes={"year": year, "ok": True})
    library.work()

    def found(value: int) -> list[str]:
        filters: Any = {"type": "gte", "key": "year", "value": value}
        return [hit.filename for hit in stores.search(store.id, query="report", filters=filters)]

    assert found(2020) == ["2021.txt"]
    stores.files.update(file_id, vector_store_id=store.id, attributes={"year": 1999})
    assert found(2020) == []
    assert found(2019) == ["2019.txt"]
    cleared = stores.files.update(file_id, vector_store_id=store.id, attributes=None)
    assert cleared.attributes == {}


def test_a_file_added_again_answers_until_it_is_read_again(
    library: Library, stores: Stores
) -> None:
    file_id = library.upload("a.txt", "The kiln is hot. " * 100)
    store = stores.create(file_ids=[file_id])
    library.work()
    before = stores.retrieve(store.id)

    fine: Any = {
        "type": "static",
        "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 10},
    }
    stores.files.create(store.id, file_id=file_id, chunking_strategy=fine)
    assert stores.search(store.id, query="kiln").data
    assert stores.retrieve(store.id).file_counts.total == 1
    library.work()
    after = stores.retrieve(store.id)
    assert after.file_counts.completed == 1
    assert after.model_dump()["passages"] > before.model_dump()["passages"]
    stores.files.delete(file_id, vector_store_id=store.id)
    empty = stores.retrieve(store.id)
    assert (empty.usage_bytes, empty.model_dump()["passages"], empty.file_counts.total) == (0, 0, 0)


def test_a_file_taken_out_while_it_is_read_leaves_nothing(library: Library, stores: Stores) -> None:
    file_id = library.upload("a.txt", "The forge is loud.")
    store = stores.create(file_ids=[file_id])

    class Slow(Files):
        @contextmanager
        def document(self, *asked: Any) -> Iterator[Any]:
            with super().document(*asked) as whole:
                stores.files.delete(file_id, vector_store_id=store.id)
                yield whole

    retriever = library.retriever
    for _, ingestion_id in ingestion.waiting(retriever.db):
        ingestion.embed(
            retriever.db, retriever.embedder, ingestion_id, source=Slow(retriever.settings)
        )
    assert stores.files.list(store.id).data == []
    assert stores.retrieve(store.id).usage_bytes == 0


def test_files_of_a_cancelled_batch_are_not_read(library: Library, stores: Stores) -> None:
    files = [library.upload(f"{n}.txt", f"Crate {n} is blue.") for n in range(3)]
    store = stores.create()
    batch = stores.file_batches.create(store.id, file_ids=files)
    stopped = stores.file_batches.cancel(batch.id, vector_store_id=store.id)
    assert (stopped.status, stopped.file_counts.cancelled) == ("cancelled", 3)
    library.work()
    listed = stores.files.list(store.id, filter="cancelled").data
    assert {file.id for file in listed} == set(files)
    assert stores.search(store.id, query="crate").data == []


def test_files_of_a_batch_may_each_have_attributes(library: Library, stores: Stores) -> None:
    store = stores.create()
    asks: Any = [
        {"file_id": library.upload(f"{n}.txt", f"Crate {n}."), "attributes": {"n": n}}
        for n in range(2)
    ]
    # The old client has no parameter for it.
    batch = stores.file_batches.create(store.id, file_ids=[], extra_body={"files": asks} | NONE)
    listed = stores.file_batches.list_files(batch.id, vector_store_id=store.id, order="asc").data
    assert [file.attributes for file in listed] == [{"n": 0}, {"n": 1}]


NONE = {"file_ids": None}


def test_files_page_in_the_order_they_came_both_ways(library: Library, stores: Stores) -> None:
    files = [library.upload(f"{n}.txt", f"Crate {n}.") for n in range(5)]
    store = stores.create()
    came = [files[place] for place in (3, 1, 4, 0, 2)]
    for file_id in came:
        stores.files.create(store.id, file_id=file_id)
    assert [file.id for file in stores.files.list(store.id, limit=2, order="asc")] == came
    assert [file.id for file in stores.files.list(store.id, limit=2)] == came[::-1]
    back = stores.files.list(store.id, limit=2, order="asc", before=came[4])
    assert [file.id for file in back.data] == came[2:4]
    assert back.has_more
    between = stores.files.list(store.id, order="asc", after=came[0], before=came[3])
    assert [file.id for file in between.data] == came[1:3]


@pytest.mark.parametrize(
    "ask",
    [
        lambda stores, store_id, file_id: stores.create(file_ids=[file_id]),
        lambda stores, store_id, file_id: stores.files.create(store_id, file_id=file_id),
        lambda stores, store_id, file_id: stores.file_batches.create(store_id, file_ids=[file_id]),
    ],
)
def test_a_file_that_is_not_there_or_not_meant_for_this_is_refused(
    library: Library, stores: Stores, ask: Callable[[Stores, str, str], Any]
) -> None:
    store = stores.create()
    with pytest.raises(openai.NotFoundError) as missing:
        ask(stores, store.id, "file_gone")
    assert missing.value.code == "file_not_found"
    other = library.upload("a.jsonl", '{"question": "a", "answer": "b"}', "fine-tune")
    with pytest.raises(openai.BadRequestError) as refused:
        ask(stores, store.id, other)
    assert refused.value.code == "invalid_file_purpose"
    assert stores.retrieve(store.id).file_counts.total == 0


def test_a_file_of_another_store_is_not_found(library: Library, stores: Stores) -> None:
    file_id = library.upload("a.txt", "Some text.")
    stores.create(file_ids=[file_id])
    other = stores.create()
    with pytest.raises(openai.NotFoundError):
        stores.files.retrieve(file_id, vector_store_id=other.id)
    with pytest.raises(openai.NotFoundError):
        stores.files.delete(file_id, vector_store_id=other.id)


def test_bulk_passages_may_take_a_files_place_and_stay(library: Library, stores: Stores) -> None:
    """A caller's own id that a file's passage has: the last that was sent is kept."""
    file_id = library.upload("a.txt", "The loom is old.")
    store = stores.create(file_ids=[file_id])
    library.work()
    sent = library.retriever.send(store.id, [{"id": f"{file_id}#0", "text": "A zebra grazes."}])
    library.retriever.embed(sent["id"])
    stores.files.delete(file_id, vector_store_id=store.id)
    assert [hit.content[0].text for hit in stores.search(store.id, query="zebra").data] == [
        "A zebra grazes."
    ]
    left = stores.retrieve(store.id)
    assert (left.usage_bytes, left.model_dump()["passages"]) == (15, 1)
