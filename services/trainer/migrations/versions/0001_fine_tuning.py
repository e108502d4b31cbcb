"""Files, jobs with their events and checkpoints, and the adapter registry."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = "trainer"
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "files",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        schema=SCHEMA,
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("estimated_finish", MOMENT),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("suffix", sa.String(64), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("training_file", sa.String(64), nullable=False),
        sa.Column("validation_file", sa.String(64)),
        sa.Column("method", JSONB, nullable=False),
        sa.Column("metadata", JSONB, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("total_steps", sa.Integer()),
        sa.Column("trained_tokens", sa.BigInteger()),
        sa.Column("fine_tuned_model", sa.Text()),
        sa.Column("result_files", JSONB, nullable=False),
        sa.Column("error", JSONB),
        sa.Column("lease_owner", sa.String(200)),
        sa.Column("lease_expires_at", MOMENT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
        schema=SCHEMA,
    )
    for column in ("status", "training_file", "validation_file"):
        op.create_index(f"ix_jobs_{column}", "jobs", [column], schema=SCHEMA)
    op.create_table(
        "events",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("type", sa.String(8), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", JSONB),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        schema=SCHEMA,
    )
    op.create_index("ix_events_job_id_id", "events", ["job_id", "id"], schema=SCHEMA)
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("fine_tuned_model", sa.Text(), nullable=False),
        sa.Column("metrics", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_checkpoints"),
        schema=SCHEMA,
    )
    op.create_index("ix_checkpoints_job_id", "checkpoints", ["job_id"], schema=SCHEMA)
    op.create_table(
        "adapters",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("recipe", sa.String(16), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("dataset_sha256", sa.String(64), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("target_modules", JSONB, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("files", JSONB, nullable=False),
        sa.Column("metrics", JSONB, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_adapters"),
        sa.UniqueConstraint("job_id", name="uq_adapters_job_id"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("adapters", "checkpoints", "events", "jobs", "files"):
        op.drop_table(table, schema=SCHEMA)
