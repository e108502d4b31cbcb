"""The rules of vector stores and passages."""

from sqlalchemy.orm import Session

from services.common.contracts import retriever as wire
from services.common.contracts.base import Deleted, Page
from services.common.errors import NotFound
from services.common.ids import new_id, now
from services.common.pagination import Cursor, to_page
from services.retriever import filters, storage
from services.retriever.expiry import refuse_expired
from services.retriever.models import VectorStore
from services.retriever.views import read_passage, read_store


def new_store(
    session: Session, ask: wire.VectorStoreCreate, *, tokens: tuple[int | None, int | None]
) -> VectorStore:
    moment = now()
    row = VectorStore(
        id=new_id("vs"),
        created_at=moment,
        last_active_at=moment,
        name=ask.name,
        description=ask.description,
        metadata_=ask.metadata or {},
        passages=0,
        usage_bytes=0,
        expires_days=ask.expires_after.days if ask.expires_after else None,
        max_chunk_tokens=tokens[0],
        overlap_tokens=tokens[1],
    )
    storage.add(session, row)
    return row


def store(session: Session, store_id: str) -> wire.VectorStore:
    row = storage.store(session, store_id)
    return read_store(row, storage.ingestion_counts(session, [store_id]).get(store_id, {}))


def stores(session: Session, cursor: Cursor) -> Page[wire.VectorStore]:
    rows, has_more = storage.stores(session, cursor)
    counts = storage.ingestion_counts(session, [row.id for row in rows])
    return to_page([read_store(row, counts.get(row.id, {})) for row in rows], has_more)


def update_store(session: Session, store_id: str, ask: wire.VectorStoreUpdate) -> wire.VectorStore:
    """Change what the request names; an explicit null clears."""
    row = refuse_expired(storage.lock_store(session, store_id))
    if "name" in ask.model_fields_set:
        row.name = ask.name
    if "metadata" in ask.model_fields_set:
        row.metadata_ = ask.metadata or {}
    if "expires_after" in ask.model_fields_set:
        row.expires_days = ask.expires_after.days if ask.expires_after else None
    row.last_active_at = now()
    return read_store(row, storage.ingestion_counts(session, [store_id]).get(store_id, {}))


def delete_store(session: Session, store_id: str) -> Deleted:
    storage.delete_store(session, store_id)
    return Deleted(id=store_id, object="vector_store.deleted")


def passage(session: Session, store_id: str, passage_id: str) -> wire.Passage:
    found = passages(session, store_id, wire.PassagesAsk.model_construct(ids=[passage_id]))
    if not found.data:
        raise NotFound(f"Vector store '{store_id}' has no passage '{passage_id}'.")
    return found.data[0]


def passages(session: Session, store_id: str, ask: wire.PassagesAsk) -> wire.PassagesFound:
    refuse_expired(storage.store(session, store_id))
    rows = storage.passages(session, store_id, ask.ids)
    return wire.PassagesFound(
        data=[read_passage(rows[key]) for key in ask.ids if key in rows],
        missing=[key for key in ask.ids if key not in rows],
    )


def delete_passages(
    session: Session, store_id: str, ask: wire.PassagesDelete
) -> wire.PassagesDeleted:
    """Those of a file go with the file."""
    row = refuse_expired(storage.lock_store(session, store_id))
    chosen = storage.with_ids(ask.ids) if ask.ids is not None else filters.where(ask.filters)
    assert chosen is not None  # one of the two is there
    count = storage.drop_passages(session, row, storage.from_no_file(), chosen)
    row.last_active_at = now()
    return wire.PassagesDeleted(vector_store_id=store_id, deleted=count)
