"""Bulk ingestion: passages come in as a stream, are stored at once, and embedded by a worker."""

import threading
from collections.abc import AsyncIterator

import structlog
from anyio.to_thread import run_sync
from sqlalchemy.orm import Session

from services.common import leases
from services.common.contracts import retriever as wire
from services.common.db import Database
from services.common.errors import FineproofError
from services.common.ids import new_id, now
from services.common.tasks import TaskQueue
from services.retriever import service, staging, storage
from services.retriever.embedding import Embedder
from services.retriever.lines import PassageLines
from services.retriever.models import Ingestion

log = structlog.get_logger(__name__)

EMBED = "retriever.embed_ingestion"
RUNNING = ("in_progress",)

# Claims without a committed batch in between, after which an ingestion is given up.
MAX_ATTEMPTS = 5

# Passages embedded per transaction: what a killed worker does again.
BATCH = 256

_BLOCK = 256 * 2**10
_DRAIN = 64 * 2**20


async def receive(
    db: Database, queue: TaskQueue, store_id: str, body: AsyncIterator[bytes], *, max_bytes: int
) -> wire.Ingestion:
    """Store the passages of a body of JSON lines, all of them or none, and have them embedded."""

    def check() -> None:
        with db.transaction() as session:
            storage.store(session, store_id)

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
    store = storage.lock_store(session, store_id)
    moment = now()
    ingestion_id = new_id("ing")
    merged = staging.merge(session, store_id=store_id, ingestion_id=ingestion_id, rows=lines.rows())
    store.passages -= merged.dropped
    store.usage_bytes += merged.grown
    store.last_active_at = moment
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
    return service.read_ingestion(row)


def waiting(db: Database) -> list[tuple[str, str]]:
    """Ingestions no worker holds, as the sweeper wants them."""
    with db.transaction() as session:
        ids = leases.unclaimed(session, Ingestion, statuses=RUNNING)
    return [(EMBED, ingestion_id) for ingestion_id in ids]


def embed(db: Database, embedder: Embedder, ingestion_id: str) -> None:
    """Embed what the ingestion brought and has no vector yet, a batch a transaction.

    Does nothing when another worker has it or it is done. A failure gives it back for another
    attempt; after ``MAX_ATTEMPTS`` without progress it ends as ``failed``.
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
            _embed_batches(db, embedder, store_id, ingestion_id, owner, heartbeat.lost)
    except Exception as error:
        log.exception("embedding_failed", ingestion=ingestion_id, attempt=attempt)
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
            storage.update_held(session, ingestion_id, owner, embedded=Ingestion.embedded + added)
        after = pks[-1]
