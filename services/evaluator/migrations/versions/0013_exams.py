"""Exams of judges, and what was found in them."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"


def upgrade() -> None:
    op.create_table(
        "judge_sittings",
        sa.Column("judge_sha256", sa.String(64), nullable=False),
        sa.Column("exam_sha256", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sat_for", sa.String(64), nullable=False),
        sa.Column("figures", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("judge_sha256", "exam_sha256", name="pk_judge_sittings"),
        schema=SCHEMA,
    )
    op.create_table(
        "judge_exams",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.Column("spec", JSONB, nullable=False),
        sa.Column("file_sha256", sa.String(64), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("done", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("seconds_left", sa.Float),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("adapter_sha256", sa.String(64)),
        sa.Column("outcome", JSONB),
        sa.Column("error", JSONB),
        sa.Column("lease_owner", sa.String(200)),
        sa.Column("lease_expires_at", sa.DateTime(timezone=True)),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_judge_exams"),
        schema=SCHEMA,
    )
    for column in ("status", "model"):
        op.create_index(f"ix_judge_exams_{column}", "judge_exams", [column], schema=SCHEMA)


def downgrade() -> None:
    op.drop_table("judge_exams", schema=SCHEMA)
    op.drop_table("judge_sittings", schema=SCHEMA)
