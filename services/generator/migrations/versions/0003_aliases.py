"""Names that stand for adapters, and what they have stood for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "aliases",
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("adapter", sa.String(256), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("gate", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("since", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_aliases")),
        sa.ForeignKeyConstraint(
            ["adapter"], ["generator.adapters.name"], name=op.f("fk_aliases_adapter_adapters")
        ),
        schema="generator",
    )
    op.create_index(op.f("ix_aliases_adapter"), "aliases", ["adapter"], schema="generator")
    op.create_table(
        "alias_changes",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("alias", sa.String(256), nullable=False),
        sa.Column("adapter", sa.String(256), nullable=True),
        sa.Column("sha256", sa.String(64), nullable=True),
        sa.Column("gate", postgresql.JSONB(), nullable=True),
        sa.Column("created_at", MOMENT, server_default=sa.func.now(), nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_changes")),
        schema="generator",
    )
    op.create_index(
        op.f("ix_alias_changes_alias_id"), "alias_changes", ["alias", "id"], schema="generator"
    )


def downgrade() -> None:
    op.drop_table("alias_changes", schema="generator")
    op.drop_table("aliases", schema="generator")
