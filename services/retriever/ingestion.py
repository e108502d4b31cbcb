"""Ingestions: passages on their way to being searchable, and the job that embeds them."""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import structlog
from sqlalchemy.orm import Session

from services.common import leases
from services.common.contracts import retriever as wire
from services.common.contracts.base import Page
from services.common.db import Database
from services.common.errors import Conflict, InvalidRequest
from services.common.ids import now
from services.common.pagination import Cursor, to_page
from services.common.tasks import TaskQueue
from services.retriever import cache, file_storage, staging, storage, vector_index
from services.retriever.compatibility import adopt, refuse_other_model
from services.retriever.embedding import Embedder
from services.retriever.expiry import refuse_expired
from services.retriever.models import Ingestion
from services.retriever.parsing.refusal import Unreadable
from services.retriever.reading import Source, stage
from services.retriever.views import read_ingestion

log = structlog.get_logger(__name__)

EMBED = "retriever.embed_ingestion"
RUNNING = ("in_progress",)

# Claims without a committed batch in between, after which an ingestion is given up.
MAX_ATTEMPTS = 5

# Passages embedded per transaction: a killed worker does again what it embedded and what it stored.
BATCH = 256


def retrieve(session: Session, store_id: str, ingestion_id: str) -> wire.Ingestion:
    return _read(session, [storage.ingestion(session, store_id, ingestion_id)])[0]


def listed(session: Session, store_id: str, cursor: Cursor) -> Page[wire.Ingestion]:
    storage.store(session, store_id)
    rows, has_more = storage.ingestions(session, store_id, cursor)
    return to_page(_read(session, rows), has_more)


def _read(session: Session, rows: Sequence[Ingestion]) -> list[wire.Ingestion]:
    places = storage.places_in_line(session, [row.id for row in rows])
    return [read_ingestion(row, place=places.get(row.id)) for row in rows]


def cancel(session: Session, store_id: str, ingestion_id: str) -> wire.Ingestion:
    """Stop it within a batch; what is embedded stays searchable. Cancelling twice is once."""
    row = storage.ingestion(session, store_id, ingestion_id, lock=True)
    if row.status == "in_progress":
        row.status, row.finished_at = "cancelled", now()
    elif row.status != "cancelled":
        raise _ended(row)
    return read_ingestion(row)


def resume(session: Session, queue: TaskQueue, store_id: str, ingestion_id: str) -> wire.Ingestion:
    """Go on where it was cancelled, or where it failed."""
    refuse_expired(storage.store(session, store_id))
    row = storage.ingestion(session, store_id, ingestion_id, lock=True)
    if row.status == "completed":
        raise _ended(row)
    if row.status != "in_progress":
        row.status, row.finished_at, row.error, row.error_code = "in_progress", None, None, None
        # The worker that was told to stop may not have noticed; it is no longer its own.
        row.lease_owner, row.lease_expires_at, row.attempts = None, None, 0
        queue.enqueue(session, EMBED, row.id)
    return retrieve(session, store_id, ingestion_id)


def _ended(row: Ingestion) -> Conflict:
    return Conflict(f"Ingestion '{row.id}' has {row.status} already.", code="ingestion_ended")


def waiting(db: Database) -> list[tuple[str, str]]:
    """Ingestions no worker holds, as the sweeper wants them."""
    with db.transaction() as session:
        ids = leases.unclaimed(session, Ingestion, statuses=RUNNING)
    return [(EMBED, ingestion_id) for ingestion_id in ids]


def embed(
    db: Database, embedder: Embedder, ingestion_id: str, *, source: Source | None = None
) -> None:
    """Embed what the ingestion brought and has no vector yet, a batch a transaction; before that,
    read its file from ``source``, if it has one that is not read yet.

    Does nothing when another worker has it or it is done. A failure gives it back for another
    attempt; after ``MAX_ATTEMPTS`` without progress it ends as ``failed``, and at once where the
    file is at fault, or the store's vectors are another model's.
    """
    owner = leases.this_worker()
    with db.transaction() as session:
        if not leases.claim(session, Ingestion, ingestion_id, owner=owner, statuses=RUNNING):
            return
        row = storage.ingestion_by_id(session, ingestion_id)
        assert row is not None
        file = file_storage.of_ingestion(session, ingestion_id)
        if row.attempts > MAX_ATTEMPTS:
            reason = row.error or "the worker died each time"
            message = (
                f"Gave up after {MAX_ATTEMPTS} attempts: {reason}. Resume it, or send it again."
            )
            storage.end_held(session, ingestion_id, owner, status="failed", error=message)
            return
    log.info("embedding_started", ingestion=ingestion_id, attempt=row.attempts)
    try:
        with leases.Heartbeat(
            db, Ingestion, ingestion_id, owner=owner, statuses=RUNNING
        ) as heartbeat:
            embedder.load()
            with db.transaction() as session:
                refuse_other_model(storage.store(session, row.store_id), embedder)
            vector_index.ensure(db, embedder.dimensions)
            if not row.staged and source is not None:
                stage(db, embedder, source, row, file, owner, heartbeat.lost)
            _embed_batches(db, embedder, row.store_id, ingestion_id, owner, heartbeat.lost)
    except (Unreadable, InvalidRequest) as fault:
        log.info("ingestion_refused", ingestion=ingestion_id, code=fault.code)
        with db.transaction() as session:
            storage.end_held(
                session,
                ingestion_id,
                owner,
                status="failed",
                error=str(fault),
                error_code=fault.code if isinstance(fault, Unreadable) else None,
            )
    except Exception as error:
        log.exception("embedding_failed", ingestion=ingestion_id, attempt=row.attempts)
        with db.transaction() as session:
            storage.update_held(session, ingestion_id, owner, error=str(error)[:1_000])
            leases.release(session, Ingestion, ingestion_id, owner=owner)


def _embed_batches(
    db: Database,
    embedder: Embedder,
    store_id: str,
    ingestion_id: str,
    owner: str,
    lost: threading.Event,
) -> None:
    """While the model computes one batch, the one before goes into the index."""
    after, done, began = 0, 0, time.monotonic()
    storing: Future[bool] | None = None
    with ThreadPoolExecutor(1, "storing") as beside:
        while not lost.is_set():
            with db.transaction() as session:
                if not storage.is_held(session, ingestion_id, owner):
                    return
                batch = staging.without_vector(session, ingestion_id, after=after, limit=BATCH)
            embedded = _embedded(db, embedder, batch) if batch else None
            if storing is not None and not storing.result():
                return
            if embedded is None:
                with db.transaction() as session:
                    storage.end_held(session, ingestion_id, owner, status="completed", error=None)
                log.info("embedding_finished", ingestion=ingestion_id)
                return
            after, done = batch[-1][0], done + len(batch)
            rate = done / (time.monotonic() - began)
            storing = beside.submit(
                _store, db, embedder, store_id, ingestion_id, owner, embedded, rate
            )


class _Embedded(NamedTuple):
    """A batch: its passages' keys, the vectors of their contents, one a row, and which contents the
    cache has."""

    pks: list[int]
    contents: list[bytes]
    vectors: cache.Vector
    known: frozenset[bytes]


def _embedded(db: Database, embedder: Embedder, batch: Sequence[tuple[int, str, str]]) -> _Embedded:
    texts = [f"{title}\n{text}".strip() for _, title, text in batch]
    contents = [cache.content_of(text) for text in texts]
    with db.transaction() as session:
        known = cache.find(session, embedder.identity, contents)
    vectors = _vectors(embedder, texts, contents, known)
    return _Embedded([pk for pk, _, _ in batch], contents, vectors, frozenset(known))


def _store(
    db: Database,
    embedder: Embedder,
    store_id: str,
    ingestion_id: str,
    owner: str,
    embedded: _Embedded,
    rate: float,
) -> bool:
    """Make the batch searchable; False, and nothing done, when the ingestion is held no more."""
    with db.transaction() as session:
        store = storage.lock_store(session, store_id)
        if not storage.update_held(session, ingestion_id, owner, attempts=0):
            return False
        adopt(store, embedder)
        added = staging.add_vectors(
            session,
            store_id=store_id,
            ingestion_id=ingestion_id,
            pks=embedded.pks,
            vectors=embedded.vectors,
        )
        new = {
            pk: content
            for pk, content in zip(embedded.pks, embedded.contents, strict=True)
            if pk in added and content not in embedded.known
        }
        cache.keep(session, embedder.identity, new)
        store.passages += len(added)
        store.last_active_at = now()
        storage.update_held(
            session,
            ingestion_id,
            owner,
            embedded=Ingestion.embedded + len(added),
            rate=rate,
        )
    return True


def _vectors(
    embedder: Embedder,
    texts: Sequence[str],
    contents: Sequence[bytes],
    known: Mapping[bytes, cache.Vector],
) -> cache.Vector:
    """A vector for each text; no text is embedded that this model has embedded before."""
    new = {
        content: text for content, text in zip(contents, texts, strict=True) if content not in known
    }
    fresh = embedder.embed(list(new.values())) if new else ()
    vectors = {**known, **dict(zip(new, fresh, strict=True))}
    return np.stack([vectors[content] for content in contents])
