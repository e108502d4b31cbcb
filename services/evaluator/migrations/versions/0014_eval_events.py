"""Webhook events of runs of evals."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "eval_events",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("answer", sa.Text()),
        sa.Column("lease_owner", sa.String(200)),
        sa.Column("lease_expires_at", MOMENT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_eval_events"),
        schema=SCHEMA,
    )
    for column in ("run_id", "status"):
        op.create_index(f"ix_eval_events_{column}", "eval_events", [column], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("eval_events", schema=SCHEMA)
