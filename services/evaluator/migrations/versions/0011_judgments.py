"""What a judge made of answers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"
_ADDED = (("experiments", "judge"), ("answers", "judgments"), ("answers", "preference"))


def upgrade() -> None:
    for table, column in _ADDED:
        op.add_column(table, sa.Column(column, JSONB(none_as_null=True)), schema=SCHEMA)


def downgrade() -> None:
    for table, column in _ADDED:
        op.drop_column(table, column, schema=SCHEMA)
