"""What models said, kept by what was asked."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.create_table(
        "cache",
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("bytes", sa.Integer, nullable=False),
        sa.Column("used_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_cache"),
        schema=SCHEMA,
    )
    op.create_index("ix_cache_used_at", "cache", ["used_at"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("cache", schema=SCHEMA)
