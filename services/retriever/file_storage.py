"""Files in vector stores, and their batches: SQL that is part of ``storage``."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session, contains_eager

from services.common.errors import NotFound
from services.common.ids import now
from services.common.pagination import Cursor, page_of
from services.retriever.models import FileBatch, Ingestion, Passage, StoreFile


def file(session: Session, store_id: str, file_id: str) -> StoreFile:
    found = session.scalar(_in_store(store_id).where(StoreFile.file_id == file_id))
    if found is None:
        raise NotFound(
            f"Vector store '{store_id}' has no file '{file_id}'.",
            code="file_not_found",
            param="file_id",
        )
    return found


def _in_store(store_id: str) -> Select[StoreFile]:
    return (
        select(StoreFile)
        .join(StoreFile.ingestion)
        .options(contains_eager(StoreFile.ingestion))
        .where(StoreFile.store_id == store_id)
    )


def of_ingestion(session: Session, ingestion_id: str) -> StoreFile | None:
    return session.scalar(select(StoreFile).where(StoreFile.ingestion_id == ingestion_id))


def files(
    session: Session,
    store_id: str,
    cursor: Cursor,
    *,
    status: str | None,
    batch_id: str | None = None,
) -> tuple[list[StoreFile], bool]:
    """Files in the order in which they came; a cursor's file that is gone has nothing behind it."""
    statement = _in_store(store_id)
    if status is not None:
        statement = statement.where(Ingestion.status == status)
    if batch_id is not None:
        statement = statement.where(StoreFile.batch_id == batch_id)

    def place(file_id: str) -> Any:
        return (
            select(StoreFile.number)
            .where(StoreFile.store_id == store_id, StoreFile.file_id == file_id)
            .scalar_subquery()
        )

    return page_of(session, statement, StoreFile.number, cursor, place=place)


def forget(session: Session, store_id: str, file_ids: Sequence[str]) -> None:
    """Remove the files and their ingestions, whose workers notice; their passages stay."""
    session.execute(
        delete(Ingestion).where(
            Ingestion.id.in_(
                select(StoreFile.ingestion_id).where(
                    StoreFile.store_id == store_id, StoreFile.file_id == func.any(list(file_ids))
                )
            )
        )
    )


def set_attributes(session: Session, row: StoreFile) -> None:
    """Give the file's passages its attributes."""
    session.execute(
        update(Passage)
        .where(Passage.store_id == row.store_id, Passage.file_id == row.file_id)
        .values(attributes=row.attributes)
    )


def usage_bytes(session: Session, store_id: str, file_id: str) -> int:
    total = session.scalar(
        select(func.sum(func.octet_length(Passage.text))).where(
            Passage.store_id == store_id, Passage.file_id == file_id
        )
    )
    return int(total or 0)


def texts(session: Session, store_id: str, file_id: str) -> list[tuple[int, str]]:
    """``(start, text)`` of each of the file's passages, in its order."""
    rows = session.execute(
        select(Passage.start, Passage.text)
        .where(Passage.store_id == store_id, Passage.file_id == file_id)
        .order_by(Passage.start)
    )
    return [(start or 0, text) for start, text in rows]


def batch(session: Session, store_id: str, batch_id: str) -> FileBatch:
    found = session.scalar(
        select(FileBatch).where(FileBatch.id == batch_id, FileBatch.store_id == store_id)
    )
    if found is None:
        raise NotFound(
            f"Vector store '{store_id}' has no file batch '{batch_id}'.", param="batch_id"
        )
    return found


def batch_counts(session: Session, batch_id: str) -> dict[str, int]:
    rows = session.execute(
        select(Ingestion.status, func.count())
        .join(StoreFile, StoreFile.ingestion_id == Ingestion.id)
        .where(StoreFile.batch_id == batch_id)
        .group_by(Ingestion.status)
    )
    return dict(rows.all())


def cancel_batch(session: Session, batch_id: str) -> None:
    of_batch = select(StoreFile.ingestion_id).where(StoreFile.batch_id == batch_id)
    session.execute(
        update(Ingestion)
        .where(Ingestion.id.in_(of_batch), Ingestion.status == "in_progress")
        .values(status="cancelled", finished_at=now())
        .execution_options(synchronize_session=False)
    )
