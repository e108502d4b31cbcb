"""The generator's only SQL."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, String, column, delete, func, select, text, update, values
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.common.contracts.generator import AdapterError, AdapterProof
from services.common.contracts.trainer import AdapterRecord
from services.common.errors import FineproofError
from services.common.ids import new_id
from services.common.pagination import Cursor, page_of
from services.generator.models import AdapterRow, AliasRow, TrialRow

PLACED = ("loading", "proving", "loaded")
"""Statuses of adapters that have a place in vLLM's memory, or are on their way into one."""
WANTED = ("fetching", *PLACED)
TRIALS_KEPT = 20
"""Of each adapter in each replica."""


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


def placed_adapters(session: Session) -> Sequence[AdapterRow]:
    return session.scalars(select(AdapterRow).where(AdapterRow.status.in_(PLACED))).all()


def draining_adapters(session: Session) -> Sequence[str]:
    return session.scalars(select(AdapterRow.name).where(AdapterRow.status == "draining")).all()


def kept_names(session: Session) -> set[str]:
    """Adapters that stay loaded when others need their place: pinned ones, those with an alias."""
    pinned = select(AdapterRow.name).where(AdapterRow.pinned)
    return set(session.scalars(pinned.union(select(AliasRow.adapter))))


def lock_places(session: Session) -> None:
    """Until the transaction ends, nobody else gives an adapter a place or takes one away."""
    session.execute(text("select pg_advisory_xact_lock(hashtext('fineproof.generator.places'))"))


def begin_fetching(session: Session, record: AdapterRecord, *, asked: bool) -> None:
    """Want the adapter served; what is known of a row that exists already is replaced.

    ``asked``: whether that is a use of it.
    """
    known: dict[str, Any] = {
        "sha256": record.sha256,
        "record": record.model_dump(mode="json"),
        "status": "fetching",
        "proofs": [],
        "error_code": None,
        "error_message": None,
    }
    if asked:
        known["last_used_at"] = func.now()
    session.execute(
        insert(AdapterRow)
        .values(name=record.id, **known)
        .on_conflict_do_update(index_elements=[AdapterRow.name], set_=known)
    )


def begin_draining(session: Session, name: str) -> bool:
    """Nobody wants the adapter any more; False when nobody ever did."""
    row = session.get(AdapterRow, name, with_for_update=True)
    if row is not None:
        row.status, row.pinned = "draining", False
    return row is not None


def set_status(session: Session, name: str, status: str) -> None:
    """Where the adapter is on its way; out of vLLM it has no proofs."""
    row = session.get_one(AdapterRow, name, with_for_update=True)
    row.status = status
    if status not in PLACED:
        row.proofs = []


def set_pinned(session: Session, name: str, pinned: bool) -> AdapterRow:
    row = session.get_one(AdapterRow, name, with_for_update=True)
    row.pinned = pinned
    return row


def mark_loaded(
    session: Session, name: str, proofs: Sequence[AdapterProof], replicas: Sequence[str]
) -> None:
    """``proofs`` take the place of earlier ones; of others only those of ``replicas`` stay."""
    row = session.get_one(AdapterRow, name, with_for_update=True)
    known = {proof["replica"]: proof for proof in row.proofs}
    known |= {proof.replica: proof.model_dump(mode="json") for proof in proofs}
    row.status = "loaded"
    row.proofs = [known[replica] for replica in replicas if replica in known]
    row.error_code = row.error_message = None


def drop_proofs(session: Session, name: str, replicas: Collection[str]) -> None:
    """Of replicas other than these, which are gone."""
    row = session.get_one(AdapterRow, name, with_for_update=True, populate_existing=True)
    row.proofs = [proof for proof in row.proofs if proof["replica"] in replicas]


def mark_failed(session: Session, name: str, error: AdapterError) -> None:
    row = session.get_one(AdapterRow, name, with_for_update=True)
    row.status = "failed"
    row.proofs = []
    row.error_code, row.error_message = error.code, error.message


def touch(session: Session, uses: Mapping[str, datetime]) -> None:
    """Write back when adapters were last asked, all in one statement; later ones win."""
    used = values(column("name", String), column("at", DateTime(timezone=True)), name="used").data(
        list(uses.items())
    )
    session.execute(
        update(AdapterRow)
        .where(AdapterRow.name == used.c.name)
        .values(
            last_used_at=func.greatest(AdapterRow.last_used_at, used.c.at),
            updated_at=AdapterRow.updated_at,
        )
        .execution_options(synchronize_session=False)
    )


def add_trial(
    session: Session, record: AdapterRecord, replica: str, outcome: AdapterProof | FineproofError
) -> None:
    """Keep what came of a proof, and forget the oldest."""
    proof = outcome if isinstance(outcome, AdapterProof) else None
    error = outcome if isinstance(outcome, FineproofError) else None
    session.add(
        TrialRow(
            id=new_id("trial"),
            adapter=record.id,
            replica=replica,
            sha256=record.sha256,
            proof=proof.model_dump(mode="json") if proof else None,
            error_code=error.code if error else None,
            error_message=error.message if error else None,
        )
    )
    session.flush()
    ours = (TrialRow.adapter == record.id, TrialRow.replica == replica)
    kept = select(TrialRow.id).where(*ours).order_by(TrialRow.id.desc()).limit(TRIALS_KEPT)
    session.execute(delete(TrialRow).where(*ours, TrialRow.id.not_in(kept)))


def trials_page(session: Session, name: str, cursor: Cursor) -> tuple[list[TrialRow], bool]:
    return page_of(session, select(TrialRow).where(TrialRow.adapter == name), TrialRow.id, cursor)
