"""An ingestion's file becomes passages: in the worker, before they are embedded."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, suppress
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


class _Lost(Exception):
    """The ingestion was cancelled, or taken, or its file removed."""


def stage(
    db: Database,
    embedder: Embedder,
    source: Source,
    ingestion: Ingestion,
    file: StoreFile | None,
    owner: str,
    lost: threading.Event,
) -> None:
    """Read the ingestion's file, and put its passages into the store, all at once: of a kill
    before that nothing remains, nor where the ingestion is ``lost`` meanwhile. ``file`` is given
    where it is a document."""
    with suppress(_Lost):
        if file is not None:
            with source.document(embedder, file) as (rows, cut), db.transaction() as session:
                store = _held_store(session, ingestion, owner)
                merged = _replace(session, store, ingestion.id, _while_held(rows, lost), cut)
                _note(session, ingestion.id, owner, merged)
        elif ingestion.file_id is not None:
            with source.lines(embedder, ingestion.file_id) as rows, db.transaction() as session:
                store = _held_store(session, ingestion, owner)
                rows = _while_held(rows, lost)
                merged = staging.merge(session, store, ingestion_id=ingestion.id, rows=rows)
                if merged.ready:
                    adopt(store, embedder)
                _note(session, ingestion.id, owner, merged)


def _held_store(session: Session, ingestion: Ingestion, owner: str) -> VectorStore:
    """The store, locked. The ingestion's own row is not, or its lease could not be renewed, nor it
    be cancelled, for as long as its passages take: it is written last."""
    store = storage.lock_store(session, ingestion.store_id)
    if not storage.is_held(session, ingestion.id, owner):
        raise _Lost
    return store


def _while_held(rows: Iterable[Row], lost: threading.Event) -> Iterator[Row]:
    for row in rows:
        if lost.is_set():
            raise _Lost
        yield row


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
    held = storage.update_held(
        session,
        ingestion_id,
        owner,
        staged=True,
        attempts=0,
        received=merged.received,
        embedded=merged.received - merged.pending,
    )
    if not held:
        raise _Lost
