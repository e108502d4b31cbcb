"""Vector stores, passages, their vectors, and ingestions.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

revision = "0001"
down_revision = None

SCHEMA = "retriever"


def upgrade() -> None:
    op.execute("create extension if not exists vector")
    op.create_table(
        "vector_stores",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_active_at", sa.BigInteger, nullable=False),
        sa.Column("name", sa.String),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("passages", sa.BigInteger, nullable=False),
        sa.Column("usage_bytes", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    _create_ingestions()
    _create_passages()
    _create_passage_vectors()


def _create_ingestions() -> None:
    op.create_table(
        "ingestions",
        sa.Column("id", sa.String, primary_key=True),
        _store(),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("embedded", sa.BigInteger, nullable=False),
        sa.Column("error", sa.String),
        sa.Column("lease_owner", sa.String(200)),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_ingestions_store_id", "ingestions", ["store_id"], schema=SCHEMA)


def _create_passages() -> None:
    lexemes = sa.Computed(
        "setweight(to_tsvector('english', title), 'A') || "
        "setweight(to_tsvector('english', text), 'D')",
        persisted=True,
    )
    op.create_table(
        "passages",
        sa.Column("pk", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _store(),
        sa.Column("id", sa.String, nullable=False),
        sa.Column("doc_id", sa.String, nullable=False),
        sa.Column("title", sa.String, nullable=False),
        sa.Column("text", sa.String, nullable=False),
        sa.Column("attributes", JSONB, nullable=False),
        sa.Column("ingestion_id", sa.String, nullable=False),
        sa.Column("lexemes", TSVECTOR, lexemes, nullable=False),
        sa.UniqueConstraint("store_id", "id", name="uq_passages_store_id_id"),
        schema=SCHEMA,
    )
    for columns in (["store_id", "doc_id"], ["ingestion_id", "pk"]):
        op.create_index(f"ix_passages_{'_'.join(columns)}", "passages", columns, schema=SCHEMA)
    op.create_index(
        "ix_passages_lexemes", "passages", ["lexemes"], schema=SCHEMA, postgresql_using="gin"
    )
    op.create_index(
        "ix_passages_attributes",
        "passages",
        ["attributes"],
        schema=SCHEMA,
        postgresql_using="gin",
        postgresql_ops={"attributes": "jsonb_path_ops"},
    )


def _create_passage_vectors() -> None:
    op.create_table(
        "passage_vectors",
        sa.Column(
            "passage_pk",
            sa.BigInteger,
            sa.ForeignKey(f"{SCHEMA}.passages.pk", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("store_id", sa.String, nullable=False),
        sa.Column("embedding", HALFVEC(384), nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_passage_vectors_store_id", "passage_vectors", ["store_id"], schema=SCHEMA)
    op.create_index(
        "ix_passage_vectors_embedding",
        "passage_vectors",
        ["embedding"],
        schema=SCHEMA,
        postgresql_using="hnsw",
        postgresql_with={"m": 16, "ef_construction": 100},
        postgresql_ops={"embedding": "halfvec_cosine_ops"},
    )


def _store() -> sa.Column[str]:
    return sa.Column(
        "store_id",
        sa.String,
        sa.ForeignKey(f"{SCHEMA}.vector_stores.id", ondelete="CASCADE"),
        nullable=False,
    )


def downgrade() -> None:
    for table in ("passage_vectors", "passages", "ingestions", "vector_stores"):
        op.drop_table(table, schema=SCHEMA)
