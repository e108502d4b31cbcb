"""Rows as the wire shows them."""

from collections.abc import Mapping

from services.common.contracts import retriever as wire
from services.common.contracts import vector_store_files as files
from services.retriever.expiry import is_expired
from services.retriever.models import FileBatch, Ingestion, Passage, StoreFile, VectorStore
from services.retriever.storage import Found

Counts = Mapping[str, int]
"""How many are in each status."""


def read_store(row: VectorStore, counts: Counts) -> wire.VectorStore:
    """``file_counts`` counts ingestions: they are what a client waits for, and a file has one."""
    working = "in_progress" if counts.get("in_progress") else "completed"
    return wire.VectorStore(
        id=row.id,
        created_at=row.created_at,
        name=row.name,
        description=row.description,
        status="expired" if is_expired(row) else working,
        usage_bytes=row.usage_bytes,
        file_counts=_counted(counts),
        last_active_at=row.last_active_at,
        expires_after=wire.ExpiresAfter(anchor="last_active_at", days=row.expires_days)
        if row.expires_days
        else None,
        expires_at=row.expires_at,
        metadata=row.metadata_,
        passages=row.passages,
        embedding_model=row.embedding_model,
        embedding_identity=row.embedding_identity,
        dimensions=row.dimensions,
    )


def _counted(counts: Counts) -> files.FileCounts:
    return files.FileCounts(total=sum(counts.values()), **counts)


def read_ingestion(row: Ingestion, *, place: int | None = None) -> wire.Ingestion:
    """``place`` is the one in the line of those that wait for a worker."""
    running = row.status == "in_progress"
    left = (row.received - row.embedded) / row.rate if running and row.rate else None
    return wire.Ingestion(
        id=row.id,
        vector_store_id=row.store_id,
        file_id=row.file_id,
        created_at=row.created_at,
        finished_at=row.finished_at,
        status=row.status,
        received=row.received,
        embedded=row.embedded,
        error=row.error,
        queue_position=place,
        passages_per_second=row.rate,
        seconds_left=left if row.staged else None,
    )


def read_passage(row: Passage) -> wire.Passage:
    return wire.Passage(
        id=row.id, doc_id=row.doc_id, title=row.title, text=row.text, attributes=row.attributes
    )


def read_result(
    row: Found, score: float, *, places: list[wire.Placement] | None = None
) -> wire.SearchResult:
    return wire.SearchResult(
        file_id=row.doc_id,
        filename=row.title,
        score=score,
        attributes=row.attributes,
        content=[files.Content(text=row.text)],
        passage_id=row.id,
        doc_id=row.doc_id,
        title=row.title,
        placements=places,
    )


def read_file(row: StoreFile) -> files.StoreFile:
    return files.StoreFile.model_validate(
        {
            "id": row.file_id,
            "created_at": row.created_at,
            "vector_store_id": row.store_id,
            "status": row.ingestion.status,
            "usage_bytes": row.usage_bytes,
            "last_error": _last_error(row.ingestion),
            "attributes": row.attributes,
            "chunking_strategy": _chunking(row),
            "filename": row.filename,
            "ingestion_id": row.ingestion_id,
        }
    )


def _last_error(ingestion: Ingestion) -> dict[str, str] | None:
    if ingestion.status != "failed":
        return None
    return {"code": ingestion.error_code or "server_error", "message": ingestion.error or ""}


def _chunking(row: StoreFile) -> dict[str, object]:
    if row.max_chunk_tokens is None:
        return {"type": "other"}
    static = {
        "max_chunk_size_tokens": row.max_chunk_tokens,
        "chunk_overlap_tokens": row.overlap_tokens,
    }
    return {"type": "static", "static": static}


def read_batch(row: FileBatch, counts: Counts) -> files.FileBatch:
    status: files.FileStatus = "completed"
    if counts.get("in_progress"):
        status = "in_progress"
    elif counts.get("cancelled"):
        status = "cancelled"
    elif counts.get("failed") and not counts.get("completed"):
        status = "failed"
    return files.FileBatch(
        id=row.id,
        created_at=row.created_at,
        vector_store_id=row.store_id,
        status=status,
        file_counts=_counted(counts),
    )
