"""What happens to an experiment, for those who watch it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger, sa.Identity(), nullable=False),
        sa.Column("experiment_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("data", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            [f"{SCHEMA}.experiments.id"],
            name="fk_events_experiment_id_experiments",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_events_experiment_id", "events", ["experiment_id", "id"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("events", schema=SCHEMA)
