"""An ingestion's file becomes passages: in the worker, before they are embedded."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Protocol

from sqlalchemy.orm import Session

from services.common.db import Database
from services.retriever import file_storage, staging, storage
from services.retriever.chunking import Cut
from services.retriever.compatibility import adopt
from services.retriever.embedding import Embedder
from services.retriever.models import Ingestion, Passage, StoreFile, VectorStore
from services.retriever.rows import Row


class Source(Protocol):
    """Where files are; raises ``Unreadable`` over one that will never do."""

    def document(
        self, embedder: Embedder, file: StoreFile
    ) -> AbstractContextManager[tuple[Iterable[Row], Cut]]:
        """What the file says, cut into passages."""

    def lines(self, embedder: Embedder, file_id: str) -> AbstractContextManager[Iterable[Row]]:
        """A file of passages, one a line."""


def stage(
    db: Database,
    embedder: Embedder,
    source: Source,
    ingestion: Ingestion,
    file: StoreFile | None,
    owner: str,
) -> None:
    """Read the ingestion's file, and put its passages into the store, all at once: of a kill
    before that nothing remains. ``file`` is given where it is a document."""
    if ingestion.file_id is not None and file is None:
        with source.lines(embedder, ingestion.file_id) as rows, db.transaction() as session:
            if (store := _held_store(session, ingestion, owner)) is not None:
                merged = staging.merge(session, store, ingestion_id=ingestion.id, rows=rows)
                if merged.ready:
                    adopt(store, embedder)
                _note(session, ingestion.id, owner, merged)
    if file is not None:
        with source.document(embedder, file) as (rows, cut), db.transaction() as session:
            if (store := _held_store(session, ingestion, owner)) is not None:
                merged = _replace(session, store, ingestion.id, rows, cut)
                _note(session, ingestion.id, owner, merged)


def _held_store(session: Session, ingestion: Ingestion, owner: str) -> VectorStore | None:
    """The store, locked; None when the ingestion was cancelled, or taken, or its file removed."""
    store = storage.lock_store(session, ingestion.store_id)
    return store if storage.update_held(session, ingestion.id, owner, staged=True) else None


def _replace(
    session: Session, store: VectorStore, ingestion_id: str, rows: Iterable[Row], cut: Cut
) -> staging.Merged:
    """Put the document's passages in the place of those it had."""
    file = file_storage.of_ingestion(session, ingestion_id)
    assert file is not None  # it goes under the store's lock, and with it the ingestion
    merged = staging.merge(
        session, store, ingestion_id=ingestion_id, rows=rows, file_id=file.file_id
    )
    old = (Passage.file_id == file.file_id, Passage.ingestion_id != ingestion_id)
    storage.drop_passages(session, store, *old)
    file_storage.set_attributes(session, file)  # they may have changed since it was read
    file.max_chunk_tokens, file.overlap_tokens = cut
    file.usage_bytes = file_storage.usage_bytes(session, store.id, file.file_id)
    return merged


def _note(session: Session, ingestion_id: str, owner: str, merged: staging.Merged) -> None:
    storage.update_held(
        session,
        ingestion_id,
        owner,
        attempts=0,
        received=merged.received,
        embedded=merged.received - merged.pending,
    )
