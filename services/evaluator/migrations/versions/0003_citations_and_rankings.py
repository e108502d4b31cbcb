"""Answers keep what they cite, items how passages were ranked."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"
COLUMNS = (("answers", "citations"), ("items", "ranking"))


def upgrade() -> None:
    for table, name in COLUMNS:
        column = sa.Column(name, JSONB, nullable=False, server_default="[]")
        op.add_column(table, column, schema=SCHEMA)


def downgrade() -> None:
    for table, name in COLUMNS:
        op.drop_column(table, name, schema=SCHEMA)
