"""The retriever's routes."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.requests import ClientDisconnect

from services.common.app import SessionDep
from services.common.bodies import ManyNumbers
from services.common.contracts import retriever as wire
from services.common.contracts.base import Deleted, Page
from services.common.errors import InvalidRequest
from services.common.pagination import CursorDep, TwoWayCursorDep
from services.retriever import audit, files, ingestion, receiving, service
from services.retriever.deps import (
    DatabaseDep,
    EmbedderDep,
    QueueDep,
    SearchesDep,
    SettingsDep,
    TrainerDep,
    WritesDep,
)

router = APIRouter(prefix="/v1/vector_stores", tags=["vector stores"], route_class=ManyNumbers)

# The body is read as a stream, so FastAPI cannot describe it by itself.
_JSON_LINES = {
    "requestBody": {
        "required": True,
        "description": "One passage a line.",
        "content": {"application/x-ndjson": {"schema": wire.PassageInput.model_json_schema()}},
    }
}


# Routes are tried in order, and searches are what is asked most.
@router.post("/{store_id}/search")
async def search(store_id: str, ask: wire.SearchAsk, searches: SearchesDep) -> wire.SearchPage:
    async with searches.place():
        return await searches.search(store_id, ask)


@router.post("/{store_id}/search/batch")
async def search_batch(
    store_id: str, ask: wire.BatchSearchAsk, searches: SearchesDep
) -> wire.BatchSearchResults:
    async with searches.place():
        return await searches.search_batch(store_id, ask)


@router.post("")
async def create_store(
    ask: wire.VectorStoreCreate, db: DatabaseDep, queue: QueueDep, trainer: TrainerDep
) -> wire.VectorStore:
    return await files.create_store(db, queue, trainer, ask)


@router.get("")
def list_stores(cursor: TwoWayCursorDep, session: SessionDep) -> Page[wire.VectorStore]:
    return service.stores(session, cursor)


@router.get("/{store_id}")
def retrieve_store(store_id: str, session: SessionDep) -> wire.VectorStore:
    return service.store(session, store_id)


@router.post("/{store_id}")
async def update_store(
    store_id: str, ask: wire.VectorStoreUpdate, writes: WritesDep
) -> wire.VectorStore:
    return await writes.transact(
        store_id, lambda session: service.update_store(session, store_id, ask)
    )


@router.delete("/{store_id}")
async def delete_store(store_id: str, writes: WritesDep) -> Deleted:
    return await writes.transact(store_id, lambda session: service.delete_store(session, store_id))


@router.post("/{store_id}/passages", status_code=202, openapi_extra=_JSON_LINES)
async def ingest(
    store_id: str,
    request: Request,
    db: DatabaseDep,
    writes: WritesDep,
    queue: QueueDep,
    embedder: EmbedderDep,
    settings: SettingsDep,
) -> wire.Ingestion:
    body = _body(request)
    limit = settings.max_ingestion_bytes
    return await receiving.receive(db, writes, queue, embedder, store_id, body, max_bytes=limit)


@router.get("/{store_id}/ingestions")
def list_ingestions(store_id: str, cursor: CursorDep, session: SessionDep) -> Page[wire.Ingestion]:
    return ingestion.listed(session, store_id, cursor)


@router.post("/{store_id}/ingestions", status_code=202)
async def ingest_file(
    store_id: str,
    ask: wire.IngestionCreate,
    writes: WritesDep,
    queue: QueueDep,
    trainer: TrainerDep,
    embedder: EmbedderDep,
) -> wire.Ingestion:
    return await files.add_passages(writes, queue, trainer, embedder, store_id, ask)


@router.get("/{store_id}/ingestions/{ingestion_id}")
def retrieve_ingestion(store_id: str, ingestion_id: str, session: SessionDep) -> wire.Ingestion:
    return ingestion.retrieve(session, store_id, ingestion_id)


@router.post("/{store_id}/ingestions/{ingestion_id}/cancel")
def cancel_ingestion(store_id: str, ingestion_id: str, session: SessionDep) -> wire.Ingestion:
    return ingestion.cancel(session, store_id, ingestion_id)


@router.post("/{store_id}/ingestions/{ingestion_id}/resume")
def resume_ingestion(
    store_id: str, ingestion_id: str, session: SessionDep, queue: QueueDep
) -> wire.Ingestion:
    return ingestion.resume(session, queue, store_id, ingestion_id)


@router.post("/{store_id}/passages/get")
def get_passages(store_id: str, ask: wire.PassagesAsk, session: SessionDep) -> wire.PassagesFound:
    return service.passages(session, store_id, ask)


@router.post("/{store_id}/passages/delete")
async def delete_passages(
    store_id: str, ask: wire.PassagesDelete, writes: WritesDep
) -> wire.PassagesDeleted:
    return await writes.transact(
        store_id, lambda session: service.delete_passages(session, store_id, ask)
    )


@router.get("/{store_id}/passages/{passage_id:path}")
def retrieve_passage(store_id: str, passage_id: str, session: SessionDep) -> wire.Passage:
    return service.passage(session, store_id, passage_id)


@router.post("/{store_id}/audit")
async def audit_store(
    store_id: str, ask: wire.AuditAsk, searches: SearchesDep, embedder: EmbedderDep
) -> wire.Audit:
    async with searches.place():
        return await searches.reader.transact(
            lambda session: audit.audit(session, embedder, store_id, ask)
        )


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise InvalidRequest("The body ended early; nothing was stored.") from None
