"""Experiments, their items and the answers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "evaluator"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("spec", JSONB, nullable=False),
        sa.Column("dataset_sha256", sa.String(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("phase", sa.String(16), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("seconds_left", sa.Float()),
        sa.Column("arms", JSONB, nullable=False),
        sa.Column("timings", JSONB, nullable=False),
        sa.Column("headline", sa.String()),
        sa.Column("report", JSONB),
        sa.Column("error", JSONB),
        sa.Column("lease_owner", sa.String(200)),
        sa.Column("lease_expires_at", MOMENT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_experiments"),
        schema=SCHEMA,
    )
    op.create_index("ix_experiments_status", "experiments", ["status"], schema=SCHEMA)
    op.create_table(
        "items",
        sa.Column("experiment_id", sa.String(64), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("reference", sa.String(), nullable=False),
        sa.Column("references", JSONB, nullable=False),
        sa.Column("aliases", JSONB, nullable=False),
        sa.Column("cluster", sa.String(), nullable=False),
        sa.Column("evidence_ids", JSONB, nullable=False),
        sa.Column("retrieved", JSONB, nullable=False),
        sa.Column("oracle", JSONB, nullable=False),
        sa.Column("distractors", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("experiment_id", "item_id", name="pk_items"),
        sa.ForeignKeyConstraint(
            ["experiment_id"],
            [f"{SCHEMA}.experiments.id"],
            name="fk_items_experiment_id_experiments",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_table(
        "answers",
        sa.Column("experiment_id", sa.String(64), nullable=False),
        sa.Column("item_id", sa.String(), nullable=False),
        sa.Column("arm", sa.String(64), nullable=False),
        sa.Column("condition", sa.String(16), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("text", sa.String()),
        sa.Column("finish_reason", sa.String()),
        sa.Column("passage_ids", JSONB, nullable=False),
        sa.Column("left_out", JSONB, nullable=False),
        sa.Column("prompt_sha256", sa.String()),
        sa.Column("adapter_sha256", sa.String()),
        sa.Column("prompt_tokens", sa.Integer()),
        sa.Column("completion_tokens", sa.Integer()),
        sa.Column("generation_ms", sa.Float()),
        sa.Column("scores", JSONB, nullable=False),
        sa.Column("error", sa.String()),
        sa.PrimaryKeyConstraint("experiment_id", "item_id", "arm", "condition", name="pk_answers"),
        sa.ForeignKeyConstraint(
            ["experiment_id", "item_id"],
            [f"{SCHEMA}.items.experiment_id", f"{SCHEMA}.items.item_id"],
            name="fk_answers_experiment_id_item_id_items",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("answers", "items", "experiments"):
        op.drop_table(table, schema=SCHEMA)
