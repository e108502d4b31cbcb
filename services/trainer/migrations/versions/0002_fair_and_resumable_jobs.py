"""Uploads in parts, callers and their turns, pausing, candidates, exports, webhooks, devices."""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = "trainer"
MOMENT = sa.DateTime(timezone=True)

LEASE = (
    ("lease_owner", sa.String(200)),
    ("lease_expires_at", MOMENT),
)


def lease() -> list[sa.Column[Any]]:
    return [
        *(sa.Column(name, kind) for name, kind in LEASE),
        sa.Column("attempts", sa.Integer(), nullable=False),
    ]


def upgrade() -> None:
    op.add_column("files", sa.Column("expires_at", MOMENT), schema=SCHEMA)
    op.create_index("ix_files_expires_at", "files", ["expires_at"], schema=SCHEMA)
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("filename", sa.Text(), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("mime_type", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("file_expires_after", sa.Integer()),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("file_id", sa.String(64), nullable=False),
        sa.Column("cleared", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_uploads"),
        schema=SCHEMA,
    )
    op.create_index("ix_uploads_cleared", "uploads", ["cleared"], schema=SCHEMA)
    op.create_table(
        "upload_parts",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("upload_id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_upload_parts"),
        schema=SCHEMA,
    )
    op.create_index("ix_upload_parts_upload_id", "upload_parts", ["upload_id"], schema=SCHEMA)

    empty_object, empty_list = sa.text("'{}'::jsonb"), sa.text("'[]'::jsonb")
    for column in (
        sa.Column("validated_at", MOMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("caller", sa.String(200), nullable=False, server_default="local"),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("request_sha256", sa.String(64)),
        sa.Column("priority", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("checks", JSONB, nullable=False, server_default=empty_object),
        sa.Column("integrations", JSONB, nullable=False, server_default=empty_list),
        sa.Column("slot", sa.Text()),
        sa.Column("paused_from", sa.String(20)),
        sa.Column("micro_batch_halvings", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("training_seconds", sa.Float()),
        sa.Column("peak_memory_bytes", sa.BigInteger()),
    ):
        op.add_column("jobs", column, schema=SCHEMA)
    op.create_unique_constraint(
        "uq_jobs_caller_idempotency_key", "jobs", ["caller", "idempotency_key"], schema=SCHEMA
    )

    op.drop_constraint("uq_adapters_job_id", "adapters", schema=SCHEMA)
    op.create_index("ix_adapters_job_id", "adapters", ["job_id"], schema=SCHEMA)
    op.add_column(
        "adapters",
        sa.Column("candidate", sa.Boolean(), nullable=False, server_default=sa.false()),
        schema=SCHEMA,
    )
    op.add_column(
        "adapters",
        sa.Column("number", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        schema=SCHEMA,
    )
    op.create_unique_constraint("uq_adapters_number", "adapters", ["number"], schema=SCHEMA)

    op.create_table(
        "exports",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("finished_at", MOMENT),
        sa.Column("adapter_id", sa.Text(), nullable=False),
        sa.Column("caller", sa.String(200), nullable=False),
        sa.Column("merge", sa.Boolean(), nullable=False),
        sa.Column("destination", JSONB, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("error", JSONB),
        *lease(),
        sa.PrimaryKeyConstraint("id", name="pk_exports"),
        schema=SCHEMA,
    )
    for name in ("adapter_id", "status"):
        op.create_index(f"ix_exports_{name}", "exports", [name], schema=SCHEMA)
    op.create_table(
        "deliveries",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("job_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.Column("answer", sa.Text()),
        *lease(),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        schema=SCHEMA,
    )
    for name in ("job_id", "status"):
        op.create_index(f"ix_deliveries_{name}", "deliveries", [name], schema=SCHEMA)
    op.create_table(
        "devices",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("seen_at", MOMENT, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("flops", sa.Float()),
        sa.PrimaryKeyConstraint("id", name="pk_devices"),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("devices", "deliveries", "exports", "upload_parts", "uploads"):
        op.drop_table(table, schema=SCHEMA)
    # Candidates have no place in the older registry: one adapter a job.
    op.execute("delete from trainer.adapters where candidate")
    for column in ("number", "candidate"):
        op.drop_column("adapters", column, schema=SCHEMA)
    op.drop_index("ix_adapters_job_id", "adapters", schema=SCHEMA)
    op.create_unique_constraint("uq_adapters_job_id", "adapters", ["job_id"], schema=SCHEMA)
    op.drop_constraint("uq_jobs_caller_idempotency_key", "jobs", schema=SCHEMA)
    for column in (
        "peak_memory_bytes",
        "training_seconds",
        "micro_batch_halvings",
        "paused_from",
        "slot",
        "integrations",
        "checks",
        "priority",
        "request_sha256",
        "idempotency_key",
        "caller",
        "started_at",
        "validated_at",
    ):
        op.drop_column("jobs", column, schema=SCHEMA)
    op.drop_index("ix_files_expires_at", "files", schema=SCHEMA)
    op.drop_column("files", "expires_at", schema=SCHEMA)
