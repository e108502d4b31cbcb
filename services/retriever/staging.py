"""Passages and vectors on their way in: the SQL of ingestion. Both go by ``COPY``."""

from base64 import b64decode
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector import HalfVector
from sqlalchemy import case, exists, select, text
from sqlalchemy.orm import Session

from services.common.ids import now
from services.retriever import halves
from services.retriever.models import Passage, PassageVector, VectorStore
from services.retriever.rows import Row

_STAGE = """
create temporary table staged (
    line bigint, id text, doc_id text, title text, text text, attributes text, start bigint,
    embedding halfvec
) on commit drop
"""

# The last line of an id wins, as if each had been sent by itself.
_DROP_REPEATED = """
delete from staged where line not in (select max(line) from staged group by id)
"""

_USAGE = """
select count(*),
       coalesce(sum(octet_length(staged.text) - coalesce(octet_length(passages.text), 0)), 0)
from staged
left join retriever.passages on passages.store_id = :store and passages.id = staged.id
"""

# What is embedded is title and text; a passage whose attributes alone change keeps its vector,
# unless it brings another.
_DROP_OUTDATED_VECTORS = """
delete from retriever.passage_vectors
using retriever.passages, staged
where passage_vectors.passage_pk = passages.pk
  and passages.store_id = :store and passages.id = staged.id
  and ((passages.title, passages.text) is distinct from (staged.title, staged.text)
       or staged.embedding <> passage_vectors.embedding)
"""

_UPSERT = """
insert into retriever.passages
    (store_id, id, doc_id, title, text, attributes, ingestion_id, file_id, start)
select :store, id, doc_id, title, text, cast(attributes as jsonb), :ingestion, :file, start
from staged order by line
on conflict (store_id, id) do update
set doc_id = excluded.doc_id, title = excluded.title, text = excluded.text,
    attributes = excluded.attributes, ingestion_id = excluded.ingestion_id,
    file_id = excluded.file_id, start = excluded.start
"""

_ADD_READY_VECTORS = """
insert into retriever.passage_vectors (passage_pk, store_id, embedding)
select passages.pk, passages.store_id, staged.embedding
from staged join retriever.passages on passages.store_id = :store and passages.id = staged.id
where staged.embedding is not null
order by staged.line
on conflict (passage_pk) do nothing
"""

_PENDING = """
select count(*) from retriever.passages
where ingestion_id = :ingestion
  and not exists (select from retriever.passage_vectors where passage_pk = passages.pk)
"""


def _copy(
    session: Session, target: str, types: Sequence[str], rows: Iterable[tuple[object, ...]]
) -> None:
    connection = halves.connection(session)
    assert isinstance(connection, psycopg.Connection)  # a thread's, not the event loop's
    with connection.cursor().copy(f"copy {target} from stdin (format binary)") as copy:
        copy.set_types(types)
        for row in rows:
            copy.write_row(row)


class Merged(NamedTuple):
    """What a merge did: passages now in the store, those of them without a vector, and vectors that
    came with them and are new: with ``ready``, the store has to adopt their model."""

    received: int
    pending: int
    ready: int


def merge(
    session: Session,
    store: VectorStore,
    *,
    ingestion_id: str,
    rows: Iterable[Row],
    file_id: str | None = None,
) -> Merged:
    """Add the rows' passages to the store, replacing those whose ids it holds; it counts them.

    With ``file_id`` they are all that the file says. The caller holds the store's lock.
    """
    names = {"store": store.id, "ingestion": ingestion_id, "file": file_id}
    session.execute(text(_STAGE))
    _copy(
        session,
        "staged",
        ["int8", *["text"] * 5, "int8", "halfvec"],
        ((*row[:-1], _halves(row.vector)) for row in rows),
    )
    session.execute(text(_DROP_REPEATED))
    session.execute(text("analyze staged (line, id)"))
    received, grown = session.execute(text(_USAGE), names).one()
    dropped = session.execute(text(_DROP_OUTDATED_VECTORS), names)
    session.execute(text(_UPSERT), names)
    added = session.execute(text(_ADD_READY_VECTORS), names)
    pending = session.execute(text(_PENDING), names).scalar_one()
    ready = int(added.rowcount)  # type: ignore[attr-defined]
    store.passages += ready - dropped.rowcount  # type: ignore[attr-defined]
    store.usage_bytes += grown
    store.last_active_at = now()
    return Merged(received, pending, ready)


def without_vector(
    session: Session, ingestion_id: str, *, after: int, limit: int
) -> list[tuple[int, str, str]]:
    """``(pk, title, text)`` of the ingestion's next passages to embed, from behind ``after``.

    A file's name is no part of what its chunks say, and they are as long as the model reads.
    """
    rows = session.execute(
        select(Passage.pk, case((Passage.file_id.is_(None), Passage.title), else_=""), Passage.text)
        .where(
            Passage.ingestion_id == ingestion_id,
            Passage.pk > after,
            ~exists().where(PassageVector.passage_pk == Passage.pk),
        )
        .order_by(Passage.pk)
        .limit(limit)
    )
    return [(pk, title, body) for pk, title, body in rows]


def add_vectors(
    session: Session,
    *,
    store_id: str,
    ingestion_id: str,
    pks: Sequence[int],
    vectors: npt.NDArray[np.float32],
) -> set[int]:
    """Store the vectors of those passages that still wait for one; gives their keys.

    A passage replaced since it was read belongs to a newer ingestion, and its vector here would be
    that of the old text. The caller holds the store's lock.
    """
    wanted = set(
        session.scalars(
            select(Passage.pk).where(
                Passage.pk.in_(pks),
                Passage.ingestion_id == ingestion_id,
                ~exists().where(PassageVector.passage_pk == Passage.pk),
            )
        )
    )
    _copy(
        session,
        "retriever.passage_vectors (passage_pk, store_id, embedding)",
        ["int8", "text", "halfvec"],
        (
            (pk, store_id, HalfVector(vector))
            for pk, vector in zip(pks, vectors, strict=True)
            if pk in wanted
        ),
    )
    return wanted


def _halves(vector: str | None) -> HalfVector | None:
    if vector is None:
        return None
    return HalfVector(np.frombuffer(b64decode(vector), np.float16))
