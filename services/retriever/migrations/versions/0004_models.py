"""Vectors of any size, each size with its index, and stores that know whose theirs are.

Revision ID: 0004
"""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC

revision = "0004"
down_revision = "0003"

SCHEMA = "retriever"
TABLES = ("passage_vectors", "embeddings")

# As services/retriever/vector_index.py makes them, and had them on this day.
INDEX = """
create index ix_passage_vectors_embedding_384 on retriever.passage_vectors
using hnsw ((embedding::halfvec(384)) halfvec_cosine_ops) with (m = 16, ef_construction = 100)
where vector_dims(embedding) = 384
"""


def upgrade() -> None:
    for name, kind in (
        ("embedding_model", sa.String),
        ("embedding_identity", sa.String),
        ("dimensions", sa.Integer),
    ):
        op.add_column("vector_stores", sa.Column(name, kind), schema=SCHEMA)
    op.execute(
        "update retriever.vector_stores set dimensions = 384 where exists "
        "(select from retriever.passage_vectors where store_id = vector_stores.id)"
    )
    op.drop_index("ix_passage_vectors_embedding", "passage_vectors", schema=SCHEMA)
    for table in TABLES:
        op.alter_column(table, "embedding", type_=HALFVEC(), schema=SCHEMA)
    # Without them, PostgreSQL takes any one size for one row in 200, and an index for the slow way.
    op.execute(
        "create statistics retriever.passage_vectors_dimensions "
        "on (vector_dims(embedding)) from retriever.passage_vectors"
    )
    op.execute(INDEX)
    op.execute("analyze retriever.passage_vectors")


def downgrade() -> None:
    """Fails, and changes nothing, where there are vectors of another size than 384."""
    op.execute("drop statistics retriever.passage_vectors_dimensions")
    op.execute(
        "do $$ declare name text; begin "
        "for name in select indexname from pg_indexes where schemaname = 'retriever' "
        r"and indexname like 'ix\_passage\_vectors\_embedding\_%' "
        "loop execute format('drop index retriever.%I', name); end loop; end $$"
    )
    for table in TABLES:
        op.alter_column(table, "embedding", type_=HALFVEC(384), schema=SCHEMA)
    op.create_index(
        "ix_passage_vectors_embedding",
        "passage_vectors",
        ["embedding"],
        schema=SCHEMA,
        postgresql_using="hnsw",
        postgresql_with={"m": 16, "ef_construction": 100},
        postgresql_ops={"embedding": "halfvec_cosine_ops"},
    )
    for name in ("embedding_model", "embedding_identity", "dimensions"):
        op.drop_column("vector_stores", name, schema=SCHEMA)
