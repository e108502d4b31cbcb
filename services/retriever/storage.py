"""Vector stores, passages and ingestions: the SQL that is neither ingestion nor search."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    bindparam,
    delete,
    func,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session

from services.common.errors import NotFound
from services.common.ids import now
from services.common.pagination import Cursor, page_of
from services.retriever.models import (
    DAY,
    Base,
    FileBatch,
    Ingestion,
    Passage,
    PassageVector,
    VectorStore,
)


def store(session: Session, store_id: str) -> VectorStore:
    found = session.execute(_STORE, {"id": store_id}).scalar()
    if found is None:
        raise no_store(store_id)
    return found


_STORE = select(VectorStore).where(VectorStore.id == bindparam("id"))


def lock_store(session: Session, store_id: str) -> VectorStore:
    """The store, with no other writer in it until the transaction ends; readers go on."""
    found = session.scalar(
        select(VectorStore).where(VectorStore.id == store_id).with_for_update(key_share=True)
    )
    if found is None:
        raise no_store(store_id)
    return found


def no_store(store_id: str) -> NotFound:
    return NotFound(f"No vector store has the id '{store_id}'.", param="vector_store_id")


def expired_stores(session: Session, moment: int) -> list[str]:
    """Some that have expired and are not emptied yet."""
    ends = VectorStore.last_active_at + VectorStore.expires_days * DAY
    rows = session.scalars(
        select(VectorStore.id)
        .where(VectorStore.expires_days.is_not(None), ~VectorStore.swept, ends <= moment)
        .limit(10)
    )
    return list(rows)


def touch(session: Session, row: VectorStore) -> None:
    """Note that the store is in use: once a minute is enough, and no search waits for it."""
    moment = now()
    if row.last_active_at <= moment - 60:
        _change_if_free(session, VectorStore.id == row.id, last_active_at=moment)


def note_model(
    session: Session, row: VectorStore, *, name: str, identity: str, dimensions: int
) -> None:
    """Note whose vectors a store has that knows of none; no search waits for it."""
    nobodys = (VectorStore.id == row.id) & VectorStore.embedding_identity.is_(None)
    _change_if_free(
        session,
        nobodys,
        embedding_model=name,
        embedding_identity=identity,
        dimensions=dimensions,
    )


def _change_if_free(session: Session, which: ColumnElement[bool], **values: Any) -> None:
    free = select(VectorStore.id).where(which).with_for_update(skip_locked=True)
    session.execute(
        update(VectorStore)
        .where(VectorStore.id.in_(free))
        .values(**values)
        .execution_options(synchronize_session=False)
    )


def stores(session: Session, cursor: Cursor) -> tuple[list[VectorStore], bool]:
    return page_of(session, select(VectorStore), VectorStore.id, cursor)


def add(session: Session, row: Base) -> None:
    session.add(row)
    session.flush()


def delete_store(session: Session, store_id: str) -> None:
    """Remove the store with all it holds."""
    row = lock_store(session, store_id)
    # By store, not by the passages' cascade, which would look its vectors up one at a time.
    session.execute(delete(PassageVector).where(PassageVector.store_id == store_id))
    session.delete(row)


def empty_store(session: Session, store_id: str) -> None:
    """Remove all that the store holds; the caller holds its lock."""
    for table in (PassageVector, Passage, Ingestion, FileBatch):
        session.execute(delete(table).where(table.store_id == store_id))


def with_ids(ids: Sequence[str]) -> ColumnElement[bool]:
    return Passage.id == func.any(list(ids))


def from_no_file() -> ColumnElement[bool]:
    return Passage.file_id.is_(None)


def drop_passages(session: Session, store: VectorStore, *which: ColumnElement[bool]) -> int:
    """Remove such passages of the store, whose lock the caller holds; gives their number."""
    gone = (
        delete(Passage)
        .where(Passage.store_id == store.id, *which)
        .returning(Passage.pk, func.octet_length(Passage.text).label("bytes"))
        .cte("gone")
    )
    count, vectors, size = session.execute(
        select(
            func.count(),
            func.count(PassageVector.passage_pk),
            func.coalesce(func.sum(gone.c.bytes), 0),
        )
        .select_from(gone)
        .outerjoin(PassageVector, PassageVector.passage_pk == gone.c.pk)
    ).one()
    store.passages -= vectors
    store.usage_bytes -= size
    return int(count)


def ingestion_counts(session: Session, store_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """For each store, how many ingestions are in each status."""
    rows = session.execute(
        select(Ingestion.store_id, Ingestion.status, func.count())
        .where(Ingestion.store_id.in_(store_ids))
        .group_by(Ingestion.store_id, Ingestion.status)
    )
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for store_id, status, count in rows:
        counts[store_id][status] = count
    return counts


def ingestion(
    session: Session, store_id: str, ingestion_id: str, *, lock: bool = False
) -> Ingestion:
    statement = select(Ingestion).where(
        Ingestion.id == ingestion_id, Ingestion.store_id == store_id
    )
    found = session.scalar(statement.with_for_update() if lock else statement)
    if found is None:
        raise NotFound(f"Vector store '{store_id}' has no ingestion '{ingestion_id}'.")
    return found


def places_in_line(session: Session, ingestion_ids: Sequence[str]) -> dict[str, int]:
    """Of those that wait for a worker, which is next (1), and so on: the longest waiting is first.
    Those that a worker has are left out."""
    line = (
        select(Ingestion.id, func.row_number().over(order_by=Ingestion.id).label("place"))
        .where(
            Ingestion.status == "in_progress",
            func.coalesce(Ingestion.lease_expires_at < func.now(), true()),
        )
        .subquery()
    )
    rows = session.execute(
        select(line.c.id, line.c.place).where(line.c.id == func.any(list(ingestion_ids)))
    )
    return dict(rows.all())


def ingestion_by_id(session: Session, ingestion_id: str) -> Ingestion | None:
    return session.get(Ingestion, ingestion_id)


def ingestions(session: Session, store_id: str, cursor: Cursor) -> tuple[list[Ingestion], bool]:
    statement = select(Ingestion).where(Ingestion.store_id == store_id)
    return page_of(session, statement, Ingestion.id, cursor)


def _held(ingestion_id: str, owner: str) -> ColumnElement[bool]:
    return (
        (Ingestion.id == ingestion_id)
        & (Ingestion.lease_owner == owner)
        & (Ingestion.status == "in_progress")
    )


def is_held(session: Session, ingestion_id: str, owner: str) -> bool:
    """Whether this worker still holds an ingestion; waits for nobody."""
    return session.scalar(select(Ingestion.id).where(_held(ingestion_id, owner))) is not None


def update_held(session: Session, ingestion_id: str, owner: str, **values: Any) -> bool:
    """Change an ingestion this worker still holds; False, and no change, when it does not."""
    kept = session.execute(
        update(Ingestion).where(_held(ingestion_id, owner)).values(**values).returning(Ingestion.id)
    )
    return kept.first() is not None


def end_held(
    session: Session,
    ingestion_id: str,
    owner: str,
    *,
    status: str,
    error: str | None,
    error_code: str | None = None,
) -> None:
    """Finish an ingestion this worker still holds.

    When it completes, passages that a later ingestion replaced meanwhile count as embedded too:
    nothing waits for them here.
    """
    values: dict[str, Any] = {"status": status, "error": error, "error_code": error_code}
    values["finished_at"] = now()
    if status == "completed":
        values["embedded"] = Ingestion.received
    update_held(session, ingestion_id, owner, lease_owner=None, lease_expires_at=None, **values)


def passages(session: Session, store_id: str, ids: Sequence[str]) -> dict[str, Passage]:
    """The passages the store holds of these ids, by id."""
    # One array: ten thousand parameters would be slow to plan.
    rows = session.scalars(
        select(Passage).where(Passage.store_id == store_id, Passage.id == func.any(list(ids)))
    )
    return {row.id: row for row in rows}


class Found(NamedTuple):
    """What a search shows of a passage. No entity, which would cost as much as finding it."""

    pk: int
    id: str
    doc_id: str
    title: str
    text: str
    attributes: dict[str, Any]
    file_id: str | None


_FOUND = select(*(getattr(Passage, name) for name in Found._fields)).where(
    Passage.pk == func.any(bindparam("pks", type_=ARRAY(BigInteger)))
)


def found(session: Session, pks: Sequence[int]) -> dict[int, Found]:
    """The passages of these keys, by key."""
    rows = session.execute(_FOUND, {"pks": list(pks)})
    return {row[0]: Found(*row) for row in rows}
