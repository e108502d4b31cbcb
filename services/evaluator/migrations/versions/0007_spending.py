"""Experiments say which specification they follow, and what they have spent."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.add_column("experiments", sa.Column("spec_sha256", sa.String(64)), schema=SCHEMA)
    spent = sa.Column("spent", JSONB, nullable=False, server_default="{}")
    op.add_column("experiments", spent, schema=SCHEMA)
    op.alter_column("experiments", "spent", server_default=None, schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("experiments", "spent", schema=SCHEMA)
    op.drop_column("experiments", "spec_sha256", schema=SCHEMA)
