"""How ingestions get on, and the vectors of what was embedded before.

Revision ID: 0003
"""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC

revision = "0003"
down_revision = "0002"

SCHEMA = "retriever"


def upgrade() -> None:
    op.add_column("ingestions", sa.Column("rate", sa.Float), schema=SCHEMA)
    op.create_index(
        "ix_ingestions_in_progress",
        "ingestions",
        ["id"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'in_progress'"),
    )
    op.create_table(
        "embeddings",
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("content", sa.LargeBinary, primary_key=True),
        sa.Column("embedding", HALFVEC(384), nullable=False),
        sa.Column("used_at", sa.BigInteger, nullable=False),
        schema=SCHEMA,
    )
    op.create_index("ix_embeddings_used_at", "embeddings", ["used_at"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("embeddings", schema=SCHEMA)
    op.drop_index("ix_ingestions_in_progress", "ingestions", schema=SCHEMA)
    op.drop_column("ingestions", "rate", schema=SCHEMA)
