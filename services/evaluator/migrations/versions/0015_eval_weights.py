"""Which weights a run of an eval began with."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.add_column("eval_runs", sa.Column("served", JSONB), schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("eval_runs", "served", schema=SCHEMA)
