"""Long work that survives its worker: rows are leased, leases renewed, lapsed ones taken over.

A table of long work mixes in :class:`Leased`. A worker calls :func:`claim`; when that says yes it
works inside :class:`Heartbeat`, which renews the lease from a thread and notices when the row was
cancelled or taken. A message that arrives twice finds the row claimed and is dropped.
"""

import os
import socket
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import structlog
from sqlalchemy import DateTime, String, func, or_, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from services.common.db import Database

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=30)


class Leased:
    """Columns of a row one worker at a time may work on; the row has ``id`` and ``status`` too."""

    lease_owner: Mapped[str | None] = mapped_column(String(200), default=None)
    lease_expires_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)
    attempts: Mapped[int] = mapped_column(default=0)


def this_worker() -> str:
    """A name for this process that no other process has, nor this one after a restart."""
    return f"{socket.gethostname()}:{os.getpid()}:{datetime.now(UTC).timestamp():.3f}"


def claim(
    session: Session,
    model: Any,
    row_id: str,
    *,
    owner: str,
    statuses: Sequence[str],
    lease: timedelta = LEASE,
) -> bool:
    """Take the lease of a row in one of ``statuses``; False when it is held, finished or gone."""
    moment = datetime.now(UTC)
    # A row that is locked is at work: in a transaction as long as its lease, its worker's
    # heartbeat waits for it too, and the lease is only renewed when it ends.
    free = (
        select(model.id)
        .where(
            model.id == row_id,
            model.status.in_(statuses),
            or_(model.lease_expires_at.is_(None), model.lease_expires_at < moment),
        )
        .with_for_update(skip_locked=True)
    )
    if session.scalar(free) is None:
        return False
    taken = session.execute(
        update(model)
        .where(model.id == row_id)
        .values(lease_owner=owner, lease_expires_at=moment + lease, attempts=model.attempts + 1)
        .execution_options(synchronize_session=False)
        .returning(model.id)
    )
    return taken.first() is not None


def renew(
    session: Session,
    model: Any,
    row_id: str,
    *,
    owner: str,
    statuses: Sequence[str],
    lease: timedelta = LEASE,
) -> bool:
    """Push the lease out; False when it was lost, or the row left ``statuses`` (was cancelled)."""
    kept = session.execute(
        update(model)
        .where(model.id == row_id, model.lease_owner == owner, model.status.in_(statuses))
        .values(lease_expires_at=datetime.now(UTC) + lease)
        .execution_options(synchronize_session=False)
        .returning(model.id)
    )
    return kept.first() is not None


def release(session: Session, model: Any, row_id: str, *, owner: str, undone: bool = False) -> None:
    """Give the lease back, so that the next worker need not wait for it to run out.

    ``undone``: a worker that was only told to stop has made no attempt.
    """
    given_back = {"attempts": func.greatest(model.attempts - 1, 0)} if undone else {}
    session.execute(
        update(model)
        .where(model.id == row_id, model.lease_owner == owner)
        .values(lease_owner=None, lease_expires_at=None, **given_back)
        .execution_options(synchronize_session=False)
    )


def unclaimed(session: Session, model: Any, *, statuses: Sequence[str]) -> list[str]:
    """Ids of rows that wait for a worker: never claimed, or their worker died."""
    moment = datetime.now(UTC)
    rows = session.scalars(
        select(model.id)
        .where(
            model.status.in_(statuses),
            or_(model.lease_expires_at.is_(None), model.lease_expires_at < moment),
        )
        .order_by(model.id)
        .limit(100)
    )
    return list(rows)


class Heartbeat:
    """Renews a lease ten times in its length from a thread, while the work goes on.

    ``lost`` is set when the lease is gone: the row was cancelled, or another worker has it. The
    work checks it between steps and stops; it must not write the row after that. A database that
    is away for less than the lease is survived.
    """

    def __init__(
        self,
        db: Database,
        model: Any,
        row_id: str,
        *,
        owner: str,
        statuses: Sequence[str],
        lease: timedelta = LEASE,
    ) -> None:
        self.lost = threading.Event()
        self._done = threading.Event()
        self._renew: Callable[[Session], bool] = lambda session: renew(
            session, model, row_id, owner=owner, statuses=statuses, lease=lease
        )
        self._lease = lease
        self._db = db
        self._row_id = row_id
        self._thread = threading.Thread(target=self._beat, name=f"lease-{row_id}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _beat(self) -> None:
        last = datetime.now(UTC)
        while not self._done.wait(self._lease.total_seconds() / 10):
            try:
                with self._db.transaction() as session:
                    kept = self._renew(session)
                last = datetime.now(UTC)
            except Exception as error:
                log.warning("lease_not_renewed", row=self._row_id, error=repr(error))
                kept = datetime.now(UTC) - last < self._lease
            if not kept:
                self.lost.set()
                return
