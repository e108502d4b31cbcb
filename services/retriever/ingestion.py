"""Bulk ingestion: passages come in as a stream, are stored at once, and embedded by a worker."""

import threading
from collections.abc import AsyncIterator, Callable, Iterable

import structlog
from anyio.to_thread import run_sync
from sqlalchemy.orm import Session

from services.common import leases
from services.common.contracts import retriever as wire
from services.common.db import Database
from services.common.errors import FineproofError
from services.common.ids import new_id, now
from services.common.tasks import TaskQueue
from services.retriever import file_storage, staging, storage
from services.retriever.chunking import Cut
from services.retriever.embedding import Embedder
from services.retriever.expiry import refuse_expired
from services.retriever.lines import PassageLines
from services.retriever.models import Ingestion, Passage, StoreFile, VectorStore
from services.retriever.parsing.refusal import Unreadable
from services.retriever.rows import Row, RowFile
from services.retriever.views import read_ingestion

log = structlog.get_logger(__name__)

EMBED = "retriever.embed_ingestion"
RUNNING = ("in_progress",)

# Claims without a committed batch in between, after which an ingestion is given up.
MAX_ATTEMPTS = 5

# Passages embedded per transaction: what a killed worker does again.
BATCH = 256

Source = Callable[[Embedder, StoreFile, RowFile], Cut]
"""Reads a file into rows; ``Unreadable`` when that will never do."""

_BLOCK = 256 * 2**10
_DRAIN = 64 * 2**20


async def receive(
    db: Database, queue: TaskQueue, store_id: str, body: AsyncIterator[bytes], *, max_bytes: int
) -> wire.Ingestion:
    """Store the passages of a body of JSON lines, all of them or none, and have them embedded."""

    def check() -> None:
        with db.transaction() as session:
            refuse_expired(storage.store(session, store_id))

    def keep() -> wire.Ingestion:
        with db.transaction() as session:
            return _keep(session, queue, store_id, lines)

    with PassageLines(max_bytes=max_bytes) as lines:
        try:
            await run_sync(check)
            block = bytearray()
            async for chunk in body:
                block += chunk
                if len(block) >= _BLOCK:
                    await run_sync(lines.feed, bytes(block))
                    block.clear()
            await run_sync(lines.feed, bytes(block))
            await run_sync(lines.finish)
        except FineproofError:
            await _drain(body)
            raise
        return await run_sync(keep)


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read on for a while: closing on a client that is still sending resets the connection, and the
    refusal is lost on its way."""
    left = _DRAIN
    async for chunk in body:
        left -= len(chunk)
        if left < 0:
            return


def _keep(session: Session, queue: TaskQueue, store_id: str, lines: PassageLines) -> wire.Ingestion:
    store = refuse_expired(storage.lock_store(session, store_id))
    moment = now()
    ingestion_id = new_id("ing")
    merged = _merge(session, store, ingestion_id, lines.rows())
    done = merged.pending == 0
    row = Ingestion(
        id=ingestion_id,
        store_id=store_id,
        created_at=moment,
        finished_at=moment if done else None,
        status="completed" if done else "in_progress",
        received=merged.received,
        embedded=merged.received - merged.pending,
        error=None,
    )
    storage.add(session, row)
    if not done:
        queue.enqueue(session, EMBED, ingestion_id)
    return read_ingestion(row)


def _merge(
    session: Session,
    store: VectorStore,
    ingestion_id: str,
    rows: Iterable[Row],
    *,
    file_id: str | None = None,
) -> staging.Merged:
    merged = staging.merge(
        session, store_id=store.id, ingestion_id=ingestion_id, rows=rows, file_id=file_id
    )
    store.passages -= merged.dropped
    store.usage_bytes += merged.grown
    store.last_active_at = now()
    return merged


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
    file is at fault.
    """
    owner = leases.this_worker()
    with db.transaction() as session:
        if not leases.claim(session, Ingestion, ingestion_id, owner=owner, statuses=RUNNING):
            return
        row = storage.ingestion_by_id(session, ingestion_id)
        assert row is not None
        store_id, attempt = row.store_id, row.attempts
        if attempt > MAX_ATTEMPTS:
            reason = row.error or "the worker died each time"
            message = f"Gave up after {MAX_ATTEMPTS} attempts: {reason}. Send the passages again."
            storage.end_held(session, ingestion_id, owner, status="failed", error=message)
            return
    log.info("embedding_started", ingestion=ingestion_id, attempt=attempt)
    try:
        with leases.Heartbeat(
            db, Ingestion, ingestion_id, owner=owner, statuses=RUNNING
        ) as heartbeat:
            embedder.load()
            if not row.staged and source is not None:
                _stage(db, embedder, row, owner, source)
            _embed_batches(db, embedder, store_id, ingestion_id, owner, heartbeat.lost)
    except Unreadable as fault:
        log.info("file_unreadable", ingestion=ingestion_id, code=fault.code)
        with db.transaction() as session:
            storage.end_held(
                session,
                ingestion_id,
                owner,
                status="failed",
                error=str(fault),
                error_code=fault.code,
            )
    except Exception as error:
        log.exception("embedding_failed", ingestion=ingestion_id, attempt=attempt)
        with db.transaction() as session:
            storage.update_held(session, ingestion_id, owner, error=str(error)[:1_000])
            leases.release(session, Ingestion, ingestion_id, owner=owner)


def _stage(
    db: Database, embedder: Embedder, ingestion: Ingestion, owner: str, source: Source
) -> None:
    """Read the file, and put its passages in the place of those it had, all at once."""
    with db.transaction() as session:
        file = file_storage.of_ingestion(session, ingestion.id)
    if file is None:  # taken out of the store, or added again
        return
    with RowFile() as rows:
        cut = source(embedder, file, rows)
        with db.transaction() as session:
            store = storage.lock_store(session, ingestion.store_id)
            if not storage.update_held(session, ingestion.id, owner, staged=True):
                return
            _keep_file(session, store, ingestion.id, owner, rows, cut)


def _keep_file(
    session: Session, store: VectorStore, ingestion_id: str, owner: str, rows: RowFile, cut: Cut
) -> None:
    file = file_storage.of_ingestion(session, ingestion_id)
    assert file is not None  # it goes under the store's lock, and with it the ingestion
    merged = _merge(session, store, ingestion_id, rows, file_id=file.file_id)
    storage.drop_passages(
        session,
        store,
        Passage.file_id == file.file_id,
        Passage.ingestion_id != ingestion_id,
    )
    file_storage.set_attributes(session, file)  # they may have changed since it was read
    file.max_chunk_tokens, file.overlap_tokens = cut
    file.usage_bytes = file_storage.usage_bytes(session, store.id, file.file_id)
    storage.update_held(
        session,
        ingestion_id,
        owner,
        attempts=0,
        received=merged.received,
        embedded=merged.received - merged.pending,
    )


def _embed_batches(
    db: Database,
    embedder: Embedder,
    store_id: str,
    ingestion_id: str,
    owner: str,
    lost: threading.Event,
) -> None:
    after = 0
    while not lost.is_set():
        with db.transaction() as session:
            batch = staging.without_vector(session, ingestion_id, after=after, limit=BATCH)
        if not batch:
            with db.transaction() as session:
                storage.end_held(session, ingestion_id, owner, status="completed", error=None)
            log.info("embedding_finished", ingestion=ingestion_id)
            return
        pks = [pk for pk, _, _ in batch]
        vectors = embedder.embed([f"{title}\n{text}".strip() for _, title, text in batch])
        with db.transaction() as session:
            store = storage.lock_store(session, store_id)
            if not storage.update_held(session, ingestion_id, owner, attempts=0):
                return
            added = staging.add_vectors(
                session, store_id=store_id, ingestion_id=ingestion_id, pks=pks, vectors=vectors
            )
            store.passages += added
            store.last_active_at = now()
            storage.update_held(session, ingestion_id, owner, embedded=Ingestion.embedded + added)
        after = pks[-1]
