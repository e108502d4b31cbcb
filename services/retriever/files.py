"""The rules of files in vector stores. The files themselves are the trainer's."""

import asyncio
from collections.abc import Sequence

from sqlalchemy.orm import Session

from services.common.clients.trainer import TrainerClient
from services.common.contracts.base import Deleted, Page
from services.common.contracts.retriever import (
    Ingestion,
    IngestionCreate,
    VectorStore,
    VectorStoreCreate,
)
from services.common.contracts.trainer import FileObject
from services.common.contracts.vector_store_files import (
    ChunkingStrategy,
    Content,
    FileBatch,
    FileBatchCreate,
    FileContent,
    FileStatus,
    StaticChunkingStrategy,
    StoreFile,
    StoreFileCreate,
    StoreFileUpdate,
)
from services.common.db import Database
from services.common.errors import (
    InvalidRequest,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    UpstreamFailed,
)
from services.common.ids import new_id, now
from services.common.pagination import Cursor, to_page
from services.common.tasks import TaskQueue
from services.retriever import file_storage, ingestion, models, service, storage
from services.retriever.compatibility import open_for
from services.retriever.embedding import Embedder
from services.retriever.expiry import refuse_expired
from services.retriever.ingestion import EMBED
from services.retriever.views import read_batch, read_file
from services.retriever.writing import Writes

PURPOSES = ("assistants", "user_data")

# Questions to the trainer at once.
_AT_ONCE = 16


async def create_store(
    db: Database, queue: TaskQueue, trainer: TrainerClient, ask: VectorStoreCreate
) -> VectorStore:
    known = await _known(trainer, ask.file_ids, param="file_ids")

    def create(session: Session) -> VectorStore:
        store = service.new_store(session, ask, tokens=_tokens(ask.chunking_strategy))
        asks = [StoreFileCreate(file_id=file_id) for file_id in ask.file_ids]
        _attach(session, queue, store, asks, known)
        return service.store(session, store.id)

    return await db.transact(create)


async def add(
    writes: Writes,
    queue: TaskQueue,
    trainer: TrainerClient,
    embedder: Embedder,
    store_id: str,
    ask: StoreFileCreate,
) -> StoreFile:
    known = await _known(trainer, [ask.file_id], param="file_id")

    def create(session: Session) -> StoreFile:
        store = open_for(embedder, storage.lock_store(session, store_id))
        _attach(session, queue, store, [ask], known)
        return read_file(file_storage.file(session, store_id, ask.file_id))

    return await writes.transact(store_id, create)


async def add_passages(
    writes: Writes,
    queue: TaskQueue,
    trainer: TrainerClient,
    embedder: Embedder,
    store_id: str,
    ask: IngestionCreate,
) -> Ingestion:
    """Take passages, one a line, from a file: what ``receive`` does with a body."""
    file_id, param = ask.file
    await _known(trainer, [file_id], param=param)

    def create(session: Session) -> Ingestion:
        store = open_for(embedder, storage.lock_store(session, store_id))
        store.last_active_at = now()
        row = _ingestion(new_id("ing"), store_id, file_id)
        storage.add(session, row)
        queue.enqueue(session, EMBED, row.id)
        return ingestion.retrieve(session, store_id, row.id)

    return await writes.transact(store_id, create)


async def add_batch(
    writes: Writes,
    queue: TaskQueue,
    trainer: TrainerClient,
    embedder: Embedder,
    store_id: str,
    ask: FileBatchCreate,
) -> FileBatch:
    param = "files" if ask.files else "file_ids"
    known = await _known(trainer, [each.file_id for each in ask.each()], param=param)

    def create(session: Session) -> FileBatch:
        store = open_for(embedder, storage.lock_store(session, store_id))
        row = models.FileBatch(id=new_id("vsfb"), store_id=store_id, created_at=now())
        storage.add(session, row)
        _attach(session, queue, store, ask.each(), known, batch_id=row.id)
        return read_batch(row, file_storage.batch_counts(session, row.id))

    return await writes.transact(store_id, create)


async def _known(
    trainer: TrainerClient, file_ids: Sequence[str], *, param: str
) -> dict[str, FileObject]:
    """What the trainer says of each file; all of them are there and are meant for this."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def look(file_id: str) -> FileObject:
        async with turns:
            return await _file(trainer, file_id, param=param)

    found = await asyncio.gather(*(look(file_id) for file_id in dict.fromkeys(file_ids)))
    return {each.id: each for each in found}


async def _file(trainer: TrainerClient, file_id: str, *, param: str) -> FileObject:
    try:
        file = await trainer.file(file_id)
    except NotFound as missing:
        raise NotFound(missing.message, code="file_not_found", param=param) from None
    except (Unauthenticated, PermissionDenied) as refusal:
        # The caller's own key was fine.
        raise UpstreamFailed(f"The trainer refuses the retriever: {refusal.message}") from refusal
    if file.purpose not in PURPOSES:
        raise InvalidRequest(
            f"File '{file_id}' was uploaded with purpose '{file.purpose}'; upload it again with "
            "purpose 'assistants'.",
            code="invalid_file_purpose",
            param=param,
        )
    return file


def _attach(
    session: Session,
    queue: TaskQueue,
    store: models.VectorStore,
    asks: Sequence[StoreFileCreate],
    known: dict[str, FileObject],
    *,
    batch_id: str | None = None,
) -> None:
    """Have the files read. One that the store has already is read again, and answers as it did
    until then. The caller holds the store's lock."""
    wanted = {ask.file_id: ask for ask in asks}
    file_storage.forget(session, store.id, list(wanted))
    store.last_active_at = now()
    for file_id, ask in wanted.items():
        ingestion_id = new_id("ing")
        storage.add(session, _ingestion(ingestion_id, store.id, file_id))
        chosen = ask.chunking_strategy
        size, overlap = (
            _tokens(chosen) if chosen else (store.max_chunk_tokens, store.overlap_tokens)
        )
        row = models.StoreFile(
            store_id=store.id,
            file_id=file_id,
            created_at=now(),
            filename=known[file_id].filename,
            attributes=ask.attributes or {},
            max_chunk_tokens=size,
            overlap_tokens=overlap,
            batch_id=batch_id,
            ingestion_id=ingestion_id,
        )
        storage.add(session, row)
        queue.enqueue(session, EMBED, ingestion_id)


def _ingestion(ingestion_id: str, store_id: str, file_id: str) -> models.Ingestion:
    return models.Ingestion(
        id=ingestion_id,
        store_id=store_id,
        created_at=now(),
        status="in_progress",
        received=0,
        embedded=0,
        file_id=file_id,
        staged=False,
    )


def _tokens(strategy: ChunkingStrategy | None) -> tuple[int | None, int | None]:
    """The size of chunks and of their overlap; None where the embedding model decides."""
    if not isinstance(strategy, StaticChunkingStrategy):
        return None, None
    return strategy.static.max_chunk_size_tokens, strategy.static.chunk_overlap_tokens


def listed(
    session: Session,
    store_id: str,
    cursor: Cursor,
    status: FileStatus | None,
    *,
    batch_id: str | None = None,
) -> Page[StoreFile]:
    storage.store(session, store_id)
    if batch_id is not None:
        file_storage.batch(session, store_id, batch_id)
    rows, has_more = file_storage.files(session, store_id, cursor, status=status, batch_id=batch_id)
    return to_page([read_file(row) for row in rows], has_more)


def retrieve(session: Session, store_id: str, file_id: str) -> StoreFile:
    storage.store(session, store_id)
    return read_file(file_storage.file(session, store_id, file_id))


def update(session: Session, store_id: str, file_id: str, ask: StoreFileUpdate) -> StoreFile:
    refuse_expired(storage.lock_store(session, store_id))
    row = file_storage.file(session, store_id, file_id)
    row.attributes = dict(ask.attributes or {})
    file_storage.set_attributes(session, row)
    return read_file(row)


def remove(session: Session, store_id: str, file_id: str) -> Deleted:
    """Take the file and its passages out of the store; the trainer keeps the file."""
    store = storage.lock_store(session, store_id)
    file_storage.file(session, store_id, file_id)
    file_storage.forget(session, store_id, [file_id])
    storage.drop_passages(session, store, models.Passage.file_id == file_id)
    return Deleted(id=file_id, object="vector_store.file.deleted")


def content(session: Session, store_id: str, file_id: str) -> FileContent:
    refuse_expired(storage.store(session, store_id))
    file_storage.file(session, store_id, file_id)
    parts, shown = [], 0
    for start, text in file_storage.texts(session, store_id, file_id):
        new = text[max(0, shown - start) :]
        shown = start + len(text)
        if new:
            parts.append(Content(text=new))
    return FileContent(data=parts)


def batch(session: Session, store_id: str, batch_id: str) -> FileBatch:
    storage.store(session, store_id)
    row = file_storage.batch(session, store_id, batch_id)
    return read_batch(row, file_storage.batch_counts(session, batch_id))


def cancel_batch(session: Session, store_id: str, batch_id: str) -> FileBatch:
    """Files that are searchable already stay so."""
    storage.store(session, store_id)
    row = file_storage.batch(session, store_id, batch_id)
    file_storage.cancel_batch(session, batch_id)
    return read_batch(row, file_storage.batch_counts(session, batch_id))
