"""Stores that nobody used for as long as their ``expires_after`` says."""

import structlog

from services.common.db import Database
from services.common.errors import InvalidRequest
from services.common.ids import now
from services.retriever import storage
from services.retriever.models import VectorStore

log = structlog.get_logger(__name__)


def is_expired(store: VectorStore) -> bool:
    return store.swept or (store.expires_at is not None and store.expires_at <= now())


def refuse_expired(store: VectorStore) -> VectorStore:
    # Not a 409, which OpenAI's clients would try again.
    if is_expired(store):
        raise InvalidRequest(
            f"Vector store '{store.id}' has expired: nobody used it for {store.expires_days} days. "
            "Create another, and add the files again.",
            code="vector_store_expired",
            param="vector_store_id",
        )
    return store


def sweep(db: Database) -> None:
    """Empty the stores that have expired; each stays, to say so, until it is deleted."""
    with db.transaction() as session:
        due = storage.expired_stores(session, now())
    for store_id in due:
        with db.transaction() as session:
            store = storage.lock_store(session, store_id)
            # Asked again under the lock: somebody may have used it since.
            if not is_expired(store) or store.swept:
                continue
            storage.empty_store(session, store_id)
            store.passages = store.usage_bytes = 0
            store.swept = True
        log.info("expired_store_emptied", store=store_id)
