"""The retriever's routes for files and their batches."""

from typing import Annotated

from fastapi import APIRouter, Query

from services.common.app import SessionDep
from services.common.contracts import vector_store_files as wire
from services.common.contracts.base import Deleted, Page
from services.common.pagination import TwoWayCursorDep
from services.retriever import files
from services.retriever.deps import EmbedderDep, QueueDep, TrainerDep, WritesDep

router = APIRouter(prefix="/v1/vector_stores/{store_id}", tags=["vector store files"])

StatusQuery = Annotated[wire.FileStatus | None, Query(alias="filter")]


@router.post("/files")
async def add_file(
    store_id: str,
    ask: wire.StoreFileCreate,
    writes: WritesDep,
    queue: QueueDep,
    trainer: TrainerDep,
    embedder: EmbedderDep,
) -> wire.StoreFile:
    return await files.add(writes, queue, trainer, embedder, store_id, ask)


@router.get("/files")
def list_files(
    store_id: str, cursor: TwoWayCursorDep, session: SessionDep, status: StatusQuery = None
) -> Page[wire.StoreFile]:
    return files.listed(session, store_id, cursor, status)


@router.get("/files/{file_id}")
def retrieve_file(store_id: str, file_id: str, session: SessionDep) -> wire.StoreFile:
    return files.retrieve(session, store_id, file_id)


@router.post("/files/{file_id}")
async def update_file(
    store_id: str, file_id: str, ask: wire.StoreFileUpdate, writes: WritesDep
) -> wire.StoreFile:
    return await writes.transact(
        store_id, lambda session: files.update(session, store_id, file_id, ask)
    )


@router.delete("/files/{file_id}")
async def remove_file(store_id: str, file_id: str, writes: WritesDep) -> Deleted:
    return await writes.transact(store_id, lambda session: files.remove(session, store_id, file_id))


@router.get("/files/{file_id}/content")
def file_content(store_id: str, file_id: str, session: SessionDep) -> wire.FileContent:
    return files.content(session, store_id, file_id)


@router.post("/file_batches")
async def add_batch(
    store_id: str,
    ask: wire.FileBatchCreate,
    writes: WritesDep,
    queue: QueueDep,
    trainer: TrainerDep,
    embedder: EmbedderDep,
) -> wire.FileBatch:
    return await files.add_batch(writes, queue, trainer, embedder, store_id, ask)


@router.get("/file_batches/{batch_id}")
def retrieve_batch(store_id: str, batch_id: str, session: SessionDep) -> wire.FileBatch:
    return files.batch(session, store_id, batch_id)


@router.post("/file_batches/{batch_id}/cancel")
def cancel_batch(store_id: str, batch_id: str, session: SessionDep) -> wire.FileBatch:
    return files.cancel_batch(session, store_id, batch_id)


@router.get("/file_batches/{batch_id}/files")
def list_batch_files(
    store_id: str,
    batch_id: str,
    cursor: TwoWayCursorDep,
    session: SessionDep,
    status: StatusQuery = None,
) -> Page[wire.StoreFile]:
    return files.listed(session, store_id, cursor, status, batch_id=batch_id)
