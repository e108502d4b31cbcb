"""Arms that experiments make by tuning."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.create_table(
        "tunings",
        sa.Column("definition", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sample", sa.String(64), nullable=False),
        sa.Column("file_id", sa.String, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("job_id", sa.String),
        sa.PrimaryKeyConstraint("definition", name="pk_tunings"),
        schema=SCHEMA,
    )
    op.create_index("ix_tunings_sample", "tunings", ["sample"], schema=SCHEMA)
    op.add_column(
        "experiments",
        sa.Column("tunings", JSONB, nullable=False, server_default="[]"),
        schema=SCHEMA,
    )
    op.alter_column("experiments", "tunings", server_default=None, schema=SCHEMA)


def downgrade() -> None:
    op.drop_column("experiments", "tunings", schema=SCHEMA)
    op.drop_table("tunings", schema=SCHEMA)
