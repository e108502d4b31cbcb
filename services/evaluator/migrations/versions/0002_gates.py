"""Gates as they were decided."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.create_table(
        "gates",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("experiment_id", sa.String(64), nullable=False),
        sa.Column("gate", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gates"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            [f"{SCHEMA}.experiments.id"],
            name="fk_gates_experiment_id_experiments",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_index("ix_gates_experiment_id", "gates", ["experiment_id"], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("gates", schema=SCHEMA)
