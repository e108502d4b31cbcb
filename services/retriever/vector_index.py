"""Vectors of any size in one table: an index for each size, and what a query must say to use it.

PostgreSQL takes a partial index on an expression only for the same expression and a condition it
can prove, so that sizes are written into the SQL and never bound.
"""

from typing import Any

import structlog
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ColumnElement, cast, func, literal_column, select, text

from services.common.db import Database
from services.retriever.models import PassageVector

log = structlog.get_logger(__name__)

_MAKE = """
create index if not exists ix_passage_vectors_embedding_{size} on retriever.passage_vectors
using hnsw ((embedding::halfvec({size})) halfvec_cosine_ops) with (m = 16, ef_construction = 100)
where vector_dims(embedding) = {size}
"""


def sized(size: int) -> Any:
    return cast(PassageVector.embedding, HALFVEC(size))


def has_size(size: int) -> ColumnElement[bool]:
    return func.vector_dims(PassageVector.embedding) == literal_column(str(size))


def ensure(db: Database, size: int) -> None:
    """Make the index of vectors of this size, unless it is there; who comes meanwhile waits.

    Looked for first: ``create index if not exists`` waits for writers even when there is nothing
    to create. It alone decides: a name that was looked for in vain is remembered as missing.
    """
    name = f"retriever.ix_passage_vectors_embedding_{size}"
    with db.transaction() as session:
        if session.scalar(select(func.to_regclass(name))) is not None:
            return
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))
        session.execute(text(_MAKE.format(size=int(size))))
        log.info("vector_index_made", dimensions=size)
