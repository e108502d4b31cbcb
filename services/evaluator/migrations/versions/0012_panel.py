"""What arms said to the forgetting panel."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.add_column("experiments", sa.Column("panel", JSONB), schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("experiments", "panel", schema=SCHEMA)
