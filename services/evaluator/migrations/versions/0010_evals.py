"""Evals, their runs and output items."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "evals",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("details", JSONB),
        sa.Column("config", JSONB, nullable=False),
        sa.Column("criteria", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_evals"),
        schema=SCHEMA,
    )
    op.create_index("ix_evals_updated_at_id", "evals", ["updated_at", "id"], schema=SCHEMA)
    op.create_table(
        "eval_runs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("eval_id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("details", JSONB),
        sa.Column("data_source", JSONB, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("items", sa.Integer()),
        sa.Column("tally", JSONB, nullable=False),
        sa.Column("error", JSONB),
        sa.Column("lease_owner", sa.String(200)),
        sa.Column("lease_expires_at", MOMENT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_eval_runs"),
        sa.ForeignKeyConstraint(
            ["eval_id"],
            [f"{SCHEMA}.evals.id"],
            name="fk_eval_runs_eval_id_evals",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    for column in ("eval_id", "status"):
        op.create_index(f"ix_eval_runs_{column}", "eval_runs", [column], schema=SCHEMA)
    op.create_table(
        "eval_output_items",
        sa.Column("id", sa.String(80), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("item", JSONB, nullable=False),
        sa.Column("item_sha256", sa.String(64), nullable=False),
        sa.Column("given", JSONB),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("results", JSONB, nullable=False),
        sa.Column("sample", JSONB),
        sa.PrimaryKeyConstraint("id", name="pk_eval_output_items"),
        sa.UniqueConstraint("run_id", "ordinal", name="uq_eval_output_items_run_id_ordinal"),
        sa.ForeignKeyConstraint(
            ["run_id"],
            [f"{SCHEMA}.eval_runs.id"],
            name="fk_eval_output_items_run_id_eval_runs",
            ondelete="CASCADE",
        ),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_eval_output_items_run_id_status_ordinal",
        "eval_output_items",
        ["run_id", "status", "ordinal"],
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("eval_output_items", "eval_runs", "evals"):
        op.drop_table(table, schema=SCHEMA)
