"""Stores that nobody uses end by themselves."""

from typing import Any

import openai
import pytest
from sqlalchemy import func, select, update

from services.common.ids import now
from services.retriever import expiry
from services.retriever.models import (
    DAY,
    FileBatch,
    Ingestion,
    Passage,
    PassageVector,
    StoreFile,
    VectorStore,
)
from tests.services.retriever.conftest import Library

AFTER: Any = {"anchor": "last_active_at", "days": 2}


def unused_for(library: Library, store_id: str, seconds: int) -> None:
    with library.retriever.db.transaction() as session:
        session.execute(
            update(VectorStore)
            .where(VectorStore.id == store_id)
            .values(last_active_at=now() - seconds)
        )


@pytest.fixture
def expired(library: Library) -> str:
    files = [library.upload(f"{n}.txt", f"Crate {n} is blue.") for n in range(2)]
    store_id = library.client.vector_stores.create(file_ids=files[:1], expires_after=AFTER).id
    library.client.vector_stores.file_batches.create(store_id, file_ids=files[1:])
    library.work()
    unused_for(library, store_id, 2 * DAY)
    return store_id


def asks(library: Library, store_id: str) -> dict[str, Any]:
    """Whatever needs a store that lives."""
    stores = library.client.vector_stores
    file_id = library.upload("a.txt", "Some text.")
    http = library.retriever.http
    return {
        "search": lambda: stores.search(store_id, query="crate"),
        "update": lambda: stores.update(store_id, name="again"),
        "file": lambda: stores.files.create(store_id, file_id=file_id),
        "batch": lambda: stores.file_batches.create(store_id, file_ids=[file_id]),
        "passages": lambda: _sent(
            library, http.post(f"/v1/vector_stores/{store_id}/passages", content=b"{}")
        ),
    }


def _sent(library: Library, response: Any) -> None:
    if response.is_error:
        raise library.client._make_status_error_from_response(response)


@pytest.mark.parametrize("swept", [False, True])
def test_an_expired_store_is_refused_with_a_sentence(
    library: Library, expired: str, swept: bool
) -> None:
    if swept:
        expiry.sweep(library.retriever.db)
    assert library.client.vector_stores.retrieve(expired).status == "expired"
    for ask in asks(library, expired).values():
        with pytest.raises(openai.BadRequestError, match="nobody used it for 2 days") as refused:
            ask()
        assert refused.value.code == "vector_store_expired"
    assert library.client.vector_stores.delete(expired).deleted


def test_an_expired_store_is_emptied_and_stays_to_say_so(library: Library, expired: str) -> None:
    expiry.sweep(library.retriever.db)
    with library.retriever.db.transaction() as session:
        for table in (Passage, PassageVector, Ingestion, StoreFile, FileBatch):
            assert session.scalar(select(func.count()).where(table.store_id == expired)) == 0
    empty = library.client.vector_stores.retrieve(expired)
    assert (empty.status, empty.usage_bytes, empty.file_counts.total) == ("expired", 0, 0)
    # Time turned back brings nothing back.
    unused_for(library, expired, 0)
    assert library.client.vector_stores.retrieve(expired).status == "expired"


def test_a_search_keeps_a_store_alive(library: Library, expired: str) -> None:
    unused_for(library, expired, 2 * DAY - 60)
    assert library.client.vector_stores.search(expired, query="crate").data
    used = library.client.vector_stores.retrieve(expired)
    assert used.expires_at is not None
    assert used.expires_at > now() + 2 * DAY - 60
    expiry.sweep(library.retriever.db)
    assert library.client.vector_stores.retrieve(expired).status == "completed"


def test_a_store_without_an_end_lives_on(library: Library) -> None:
    store_id = library.client.vector_stores.create().id
    unused_for(library, store_id, 10_000 * DAY)
    expiry.sweep(library.retriever.db)
    kept = library.client.vector_stores.retrieve(store_id)
    assert (kept.status, kept.expires_at) == ("completed", None)
