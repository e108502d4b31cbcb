"""Files in vector stores, file batches, and stores that expire.

Revision ID: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"

SCHEMA = "retriever"
ADDED = {
    "vector_stores": (
        "description",
        "expires_days",
        "swept",
        "max_chunk_tokens",
        "overlap_tokens",
    ),
    "ingestions": ("error_code", "file_id", "staged"),
    "passages": ("file_id", "start"),
}


def upgrade() -> None:
    for column in (
        sa.Column("description", sa.String),
        sa.Column("expires_days", sa.Integer),
        sa.Column("max_chunk_tokens", sa.Integer),
        sa.Column("overlap_tokens", sa.Integer),
    ):
        op.add_column("vector_stores", column, schema=SCHEMA)
    _add_flag("vector_stores", "swept", of_old_rows=False)
    op.add_column("ingestions", sa.Column("error_code", sa.String), schema=SCHEMA)
    op.add_column("ingestions", sa.Column("file_id", sa.String), schema=SCHEMA)
    _add_flag("ingestions", "staged", of_old_rows=True)
    op.add_column("passages", sa.Column("file_id", sa.String), schema=SCHEMA)
    op.add_column("passages", sa.Column("start", sa.BigInteger), schema=SCHEMA)
    op.create_index(
        "ix_passages_store_id_file_id",
        "passages",
        ["store_id", "file_id"],
        schema=SCHEMA,
        postgresql_where=sa.text("file_id is not null"),
    )
    _create_file_batches()
    _create_store_files()


def _add_flag(table: str, name: str, *, of_old_rows: bool) -> None:
    default = sa.true() if of_old_rows else sa.false()
    column = sa.Column(name, sa.Boolean, nullable=False, server_default=default)
    op.add_column(table, column, schema=SCHEMA)
    op.alter_column(table, name, server_default=None, schema=SCHEMA)


def _create_file_batches() -> None:
    op.create_table(
        "file_batches",
        sa.Column("id", sa.String, primary_key=True),
        _store(),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_file_batches_store_id", "file_batches", ["store_id"], schema=SCHEMA)


def _create_store_files() -> None:
    op.create_table(
        "store_files",
        sa.Column("number", sa.BigInteger, sa.Identity(always=True), primary_key=True),
        _store(),
        sa.Column("file_id", sa.String, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("filename", sa.String, nullable=False),
        sa.Column("attributes", JSONB, nullable=False),
        sa.Column("max_chunk_tokens", sa.Integer),
        sa.Column("overlap_tokens", sa.Integer),
        sa.Column("usage_bytes", sa.BigInteger, nullable=False),
        sa.Column("batch_id", sa.String),
        sa.Column(
            "ingestion_id",
            sa.String,
            sa.ForeignKey(f"{SCHEMA}.ingestions.id", ondelete="CASCADE"),
            nullable=False,
        ),
        sa.UniqueConstraint("store_id", "file_id", name="uq_store_files_store_id_file_id"),
        sa.UniqueConstraint("ingestion_id", name="uq_store_files_ingestion_id"),
        schema=SCHEMA,
    )
    op.create_index("ix_store_files_batch_id", "store_files", ["batch_id"], schema=SCHEMA)


def _store() -> sa.Column[str]:
    return sa.Column(
        "store_id",
        sa.String,
        sa.ForeignKey(f"{SCHEMA}.vector_stores.id", ondelete="CASCADE"),
        nullable=False,
    )


def downgrade() -> None:
    op.drop_table("store_files", schema=SCHEMA)
    op.drop_table("file_batches", schema=SCHEMA)
    op.drop_index("ix_passages_store_id_file_id", "passages", schema=SCHEMA)
    for table, names in ADDED.items():
        for name in names:
            op.drop_column(table, name, schema=SCHEMA)
