"""Why answers were lost, beside them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.add_column("answers", sa.Column("attribution", JSONB), schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("answers", "attribution", schema=SCHEMA)
