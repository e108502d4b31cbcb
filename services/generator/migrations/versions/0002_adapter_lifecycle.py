"""Adapters that are pinned, when they were last asked, and what canaries said of them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "adapters",
        sa.Column("pinned", sa.Boolean(), server_default=sa.false(), nullable=False),
        schema="generator",
    )
    op.add_column(
        "adapters",
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        schema="generator",
    )
    op.create_table(
        "trials",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("adapter", sa.String(256), nullable=False),
        sa.Column("replica", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("proof", postgresql.JSONB(), nullable=True),
        sa.Column("error_code", sa.String(64), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "tried_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trials")),
        schema="generator",
    )
    op.create_index(
        op.f("ix_trials_adapter_replica_id"),
        "trials",
        ["adapter", "replica", "id"],
        schema="generator",
    )


def downgrade() -> None:
    op.drop_table("trials", schema="generator")
    op.drop_column("adapters", "last_used_at", schema="generator")
    op.drop_column("adapters", "pinned", schema="generator")
