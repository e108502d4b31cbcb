"""An arm answers as often as it is repeated, with each of its adapters."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "evaluator"
BEFORE = ["experiment_id", "item_id", "arm", "condition"]
ADDED = ["training_seed", "repeat"]


def upgrade() -> None:
    for name in ADDED:
        column = sa.Column(name, sa.Integer, nullable=False, server_default="0")
        op.add_column("answers", column, schema=SCHEMA)
        op.alter_column("answers", name, server_default=None, schema=SCHEMA)
    op.drop_constraint("pk_answers", "answers", schema=SCHEMA)
    op.create_primary_key("pk_answers", "answers", [*BEFORE, *ADDED], schema=SCHEMA)


def downgrade() -> None:
    op.execute(f"delete from {SCHEMA}.answers where training_seed <> 0 or repeat <> 0")  # noqa: S608
    op.drop_constraint("pk_answers", "answers", schema=SCHEMA)
    op.create_primary_key("pk_answers", "answers", BEFORE, schema=SCHEMA)
    for name in ADDED:
        op.drop_column("answers", name, schema=SCHEMA)
