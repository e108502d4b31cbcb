"""The retriever's tables."""

from typing import Any

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import BigInteger, Computed, ForeignKey, Identity, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from services.common.db import service_metadata
from services.common.leases import Leased

DAY = 86_400

# The language passages are stemmed in; part of an index, so it changes by a migration only.
LANGUAGE = "english"

_IN_PROGRESS = text("status = 'in_progress'")
_FROM_A_FILE = text("file_id is not null")


class Base(DeclarativeBase):
    metadata = service_metadata("retriever")


class VectorStore(Base):
    """``passages`` counts those with a vector, ``usage_bytes`` the UTF-8 bytes of all texts.

    ``expires_days`` after ``last_active_at`` it is expired, and soon ``swept``: emptied for good.
    ``max_chunk_tokens`` and ``overlap_tokens`` are for files that come without their own.
    Its model is that of its first vector, for good: a name, an identity, and the size of vectors.

    Whoever adds, replaces or embeds passages holds this row's lock (``storage.lock_store``): it
    keeps the two counters true and makes writers of one store take turns instead of deadlocking.
    """

    __tablename__ = "vector_stores"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[int] = mapped_column(BigInteger)
    last_active_at: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str | None]
    description: Mapped[str | None]
    metadata_: Mapped[dict[str, str]] = mapped_column("metadata", JSONB)
    passages: Mapped[int] = mapped_column(BigInteger, default=0)
    usage_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    expires_days: Mapped[int | None]
    swept: Mapped[bool] = mapped_column(default=False)
    max_chunk_tokens: Mapped[int | None]
    overlap_tokens: Mapped[int | None]
    embedding_model: Mapped[str | None]
    embedding_identity: Mapped[str | None]
    dimensions: Mapped[int | None]

    @property
    def expires_at(self) -> int | None:
        return self.last_active_at + self.expires_days * DAY if self.expires_days else None


class Ingestion(Base, Leased):
    """``staged`` once its passages are rows: one from a file begins without. ``rate`` is that of
    the worker that has it or had it last, in passages a second."""

    __tablename__ = "ingestions"

    id: Mapped[str] = mapped_column(primary_key=True)
    store_id: Mapped[str] = mapped_column(
        ForeignKey("vector_stores.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[int] = mapped_column(BigInteger)
    finished_at: Mapped[int | None] = mapped_column(BigInteger)
    status: Mapped[str]
    received: Mapped[int] = mapped_column(BigInteger)
    embedded: Mapped[int] = mapped_column(BigInteger)
    error: Mapped[str | None]
    error_code: Mapped[str | None]
    file_id: Mapped[str | None]
    staged: Mapped[bool] = mapped_column(default=True)
    rate: Mapped[float | None]

    __table_args__ = (Index("ix_ingestions_in_progress", "id", postgresql_where=_IN_PROGRESS),)


class FileBatch(Base):
    __tablename__ = "file_batches"

    id: Mapped[str] = mapped_column(primary_key=True)
    store_id: Mapped[str] = mapped_column(
        ForeignKey("vector_stores.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[int] = mapped_column(BigInteger)


class StoreFile(Base):
    """A file of the trainer's in a store; its ingestion has its status. ``number`` orders them."""

    __tablename__ = "store_files"

    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    store_id: Mapped[str] = mapped_column(ForeignKey("vector_stores.id", ondelete="CASCADE"))
    file_id: Mapped[str]
    created_at: Mapped[int] = mapped_column(BigInteger)
    filename: Mapped[str]
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB)
    max_chunk_tokens: Mapped[int | None]
    overlap_tokens: Mapped[int | None]
    usage_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    batch_id: Mapped[str | None] = mapped_column(index=True)
    ingestion_id: Mapped[str] = mapped_column(
        ForeignKey("ingestions.id", ondelete="CASCADE"), unique=True
    )
    ingestion: Mapped[Ingestion] = relationship(lazy="joined", innerjoin=True)

    __table_args__ = (UniqueConstraint("store_id", "file_id"),)


class Passage(Base):
    """``ingestion_id`` is the last that brought it; ``lexemes`` marks the title A, the text D.

    One cut from a file has its ``file_id``, and ``start``, its place in the file's text.
    """

    __tablename__ = "passages"

    pk: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    store_id: Mapped[str] = mapped_column(ForeignKey("vector_stores.id", ondelete="CASCADE"))
    id: Mapped[str]
    doc_id: Mapped[str]
    title: Mapped[str]
    text: Mapped[str]
    attributes: Mapped[dict[str, Any]] = mapped_column(JSONB)
    ingestion_id: Mapped[str]
    file_id: Mapped[str | None]
    start: Mapped[int | None] = mapped_column(BigInteger)
    lexemes: Mapped[Any] = mapped_column(
        TSVECTOR,
        Computed(
            f"setweight(to_tsvector('{LANGUAGE}', title), 'A') || "
            f"setweight(to_tsvector('{LANGUAGE}', text), 'D')"
        ),
        deferred=True,
    )

    __table_args__ = (
        UniqueConstraint("store_id", "id"),
        Index(None, "store_id", "doc_id"),
        Index(None, "ingestion_id", "pk"),
        Index(None, "store_id", "file_id", postgresql_where=_FROM_A_FILE),
        Index(None, "lexemes", postgresql_using="gin"),
        Index(
            None,
            "attributes",
            postgresql_using="gin",
            postgresql_ops={"attributes": "jsonb_path_ops"},
        ),
    )


class PassageVector(Base):
    """A passage's embedding, of length 1. A passage without one is not searchable yet.

    Their indexes, one for each size, are made when the first of it comes (``vector_index``).
    """

    __tablename__ = "passage_vectors"

    passage_pk: Mapped[int] = mapped_column(
        ForeignKey("passages.pk", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    store_id: Mapped[str] = mapped_column(index=True)
    embedding: Mapped[Any] = mapped_column(HALFVEC)


class Embedding(Base):
    """The vector that a model gave to a content, by its SHA-256: no text is embedded twice."""

    __tablename__ = "embeddings"

    model: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes] = mapped_column(primary_key=True)
    embedding: Mapped[Any] = mapped_column(HALFVEC)
    used_at: Mapped[int] = mapped_column(BigInteger, index=True)
