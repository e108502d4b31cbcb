"""Passages that come in as a stream: stored at once, embedded by a worker where they bring no
vector."""

from collections.abc import AsyncIterator

from anyio.to_thread import run_sync
from sqlalchemy.orm import Session

from services.common.contracts import retriever as wire
from services.common.db import Database
from services.common.errors import FineproofError
from services.common.ids import new_id, now
from services.common.tasks import TaskQueue
from services.retriever import staging, storage, vector_index
from services.retriever.compatibility import adopt, open_for
from services.retriever.embedding import Embedder
from services.retriever.ingestion import EMBED
from services.retriever.lines import PassageLines
from services.retriever.models import Ingestion, VectorStore
from services.retriever.views import read_ingestion
from services.retriever.writing import Writes

_BLOCK = 256 * 2**10
_DRAIN = 64 * 2**20


async def receive(
    db: Database,
    writes: Writes,
    queue: TaskQueue,
    embedder: Embedder,
    store_id: str,
    body: AsyncIterator[bytes],
    *,
    max_bytes: int,
) -> wire.Ingestion:
    """Store the passages of a body of JSON lines, all of them or none, and have them embedded."""

    def check(session: Session) -> None:
        open_for(embedder, storage.store(session, store_id))

    def keep(session: Session) -> wire.Ingestion:
        store = open_for(embedder, storage.lock_store(session, store_id))
        return _keep(session, queue, embedder, store, lines)

    with PassageLines(max_bytes=max_bytes, dimensions=lambda: embedder.dimensions) as lines:
        try:
            await db.transact(check)
            block = bytearray()
            async for chunk in body:
                block += chunk
                if len(block) >= _BLOCK:
                    await run_sync(lines.feed, bytes(block))
                    block.clear()
            await run_sync(lines.feed, bytes(block))
            await run_sync(lines.finish)
        except (FineproofError, OSError):  # such as a full disk
            await _drain(body)
            raise
        if lines.bring_vectors:
            await run_sync(vector_index.ensure, db, embedder.dimensions)
        return await writes.transact(store_id, keep)


async def _drain(body: AsyncIterator[bytes]) -> None:
    """Read on for a while: closing on a client that is still sending resets the connection, and the
    refusal is lost on its way."""
    left = _DRAIN
    async for chunk in body:
        left -= len(chunk)
        if left < 0:
            return


def _keep(
    session: Session,
    queue: TaskQueue,
    embedder: Embedder,
    store: VectorStore,
    lines: PassageLines,
) -> wire.Ingestion:
    moment = now()
    ingestion_id = new_id("ing")
    merged = staging.merge(session, store, ingestion_id=ingestion_id, rows=lines.rows())
    if merged.ready:
        adopt(store, embedder)
    done = merged.pending == 0
    row = Ingestion(
        id=ingestion_id,
        store_id=store.id,
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
