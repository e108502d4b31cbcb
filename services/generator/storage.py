"""The generator's only SQL."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.common.contracts.generator import AdapterError, AdapterProof
from services.common.contracts.trainer import AdapterRecord
from services.common.pagination import Cursor, page_of
from services.generator.models import AdapterRow

WANTED = ("loading", "loaded")


def adapter(session: Session, name: str) -> AdapterRow | None:
    return session.get(AdapterRow, name)


def known_adapter(session: Session, name: str) -> AdapterRow:
    """The row of an adapter that was asked for, and that no one deletes."""
    return session.get_one(AdapterRow, name)


def adapters_page(session: Session, cursor: Cursor) -> tuple[list[AdapterRow], bool]:
    return page_of(session, select(AdapterRow), AdapterRow.name, cursor)


def all_adapters(session: Session) -> Sequence[AdapterRow]:
    return session.scalars(select(AdapterRow).order_by(AdapterRow.name)).all()


def wanted_adapters(session: Session) -> Sequence[AdapterRow]:
    return session.scalars(
        select(AdapterRow).where(AdapterRow.status.in_(WANTED)).order_by(AdapterRow.name)
    ).all()


def begin_loading(session: Session, record: AdapterRecord) -> None:
    """Want the adapter served; what is known of a row that exists already is replaced."""
    values: dict[str, Any] = {
        "sha256": record.sha256,
        "record": record.model_dump(mode="json"),
        "status": "loading",
        "proofs": [],
        "error_code": None,
        "error_message": None,
    }
    session.execute(
        insert(AdapterRow)
        .values(name=record.id, **values)
        .on_conflict_do_update(index_elements=[AdapterRow.name], set_=values)
    )


def mark_loaded(session: Session, name: str, proofs: Sequence[AdapterProof]) -> None:
    row = session.get_one(AdapterRow, name, with_for_update=True)
    row.status = "loaded"
    row.proofs = [proof.model_dump(mode="json") for proof in proofs]
    row.error_code = row.error_message = None


def mark_failed(session: Session, name: str, error: AdapterError) -> None:
    row = session.get_one(AdapterRow, name, with_for_update=True)
    row.status = "failed"
    row.proofs = []
    row.error_code, row.error_message = error.code, error.message


def mark_unloaded(session: Session, name: str) -> bool:
    """False when no such adapter was ever asked for."""
    row = session.get(AdapterRow, name, with_for_update=True)
    if row is None:
        return False
    row.status = "unloaded"
    row.proofs = []
    return True
