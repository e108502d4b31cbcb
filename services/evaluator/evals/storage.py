"""The SQL of evals."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import cast, func, null, select, tuple_, update
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.orm import Session

from services.common.errors import InvalidRequest
from services.common.pagination import Cursor, page_of
from services.evaluator.evals.items import ReadItem
from services.evaluator.evals.models import EvalRow, EventRow, OutputItemRow, RunRow
from services.evaluator.models import Json

ACTIVE = ("queued", "in_progress")


def add(session: Session, row: EvalRow | RunRow) -> None:
    session.add(row)
    session.flush()


def find_eval(
    session: Session, eval_id: str, *, hold: Literal["share", "alone"] | None = None
) -> EvalRow | None:
    """``hold`` it until the transaction ends: ``share`` keeps it from being deleted, ``alone`` from
    being shared."""
    lock = {"share": {"read": True, "key_share": True}, "alone": {}}.get(hold or "")
    return session.get(EvalRow, eval_id, with_for_update=lock)


def evals_page(
    session: Session, cursor: Cursor, order_by: Literal["created_at", "updated_at"]
) -> tuple[list[EvalRow], bool]:
    if order_by == "created_at":
        return page_of(session, select(EvalRow), EvalRow.id, cursor)
    statement = select(EvalRow)
    place = tuple_(EvalRow.updated_at, EvalRow.id)
    if cursor.after is not None:
        last = session.get(EvalRow, cursor.after)
        if last is None:
            raise InvalidRequest(f"There is no eval '{cursor.after}'.", param="after")
        seen = tuple_(last.updated_at, last.id)
        statement = statement.where(place > seen if cursor.order == "asc" else place < seen)
    columns = (EvalRow.updated_at, EvalRow.id)
    ordered = statement.order_by(*(c.asc() if cursor.order == "asc" else c.desc() for c in columns))
    rows = list(session.scalars(ordered.limit(cursor.limit + 1)))
    return rows[: cursor.limit], len(rows) > cursor.limit


def delete(session: Session, row: EvalRow | RunRow) -> None:
    session.delete(row)
    session.flush()


def has_active_runs(session: Session, eval_id: str) -> bool:
    asked = select(RunRow.id).where(RunRow.eval_id == eval_id, RunRow.status.in_(ACTIVE)).limit(1)
    return session.scalar(asked) is not None


def find_run(session: Session, eval_id: str, run_id: str) -> RunRow | None:
    return session.scalar(select(RunRow).where(RunRow.id == run_id, RunRow.eval_id == eval_id))


def run_of(session: Session, run_id: str) -> tuple[RunRow, EvalRow]:
    row = session.execute(
        select(RunRow, EvalRow)
        .join(EvalRow, EvalRow.id == RunRow.eval_id)
        .where(RunRow.id == run_id)
    ).one()
    return row[0], row[1]


def runs_page(
    session: Session, eval_id: str, cursor: Cursor, status: str | None
) -> tuple[list[RunRow], bool]:
    asked = select(RunRow).where(RunRow.eval_id == eval_id)
    if status is not None:
        asked = asked.where(RunRow.status == status)
    return page_of(session, asked, RunRow.id, cursor)


def end(session: Session, run_id: str, status: str, error: Json | None = None) -> bool:
    """End an active run and its lease; False when it is not active."""
    ended = session.execute(
        update(RunRow)
        .where(RunRow.id == run_id, RunRow.status.in_(ACTIVE))
        .values(
            status=status,
            error=error,
            finished_at=datetime.now(UTC),
            lease_owner=None,
            lease_expires_at=None,
        )
        .returning(RunRow.id)
    )
    return ended.first() is not None


def add_events(session: Session, events: Sequence[EventRow]) -> None:
    session.add_all(events)
    session.flush()


def set_fields(session: Session, run_id: str, **values: Any) -> None:
    session.execute(update(RunRow).where(RunRow.id == run_id).values(**values))


def item_id(run_id: str, ordinal: int) -> str:
    """Sorts as the items do, and is the same each time the data are read."""
    return f"outputitem_{run_id.removeprefix('evalrun_')}_{ordinal:09d}"


def add_items(session: Session, run_id: str, items: Sequence[ReadItem]) -> None:
    """Items that are there already stay as they are."""
    rows = [
        {
            "id": item_id(run_id, each.ordinal),
            "run_id": run_id,
            "ordinal": each.ordinal,
            "item": each.item,
            "item_sha256": each.sha256,
            "given": each.sample,
        }
        for each in items
    ]
    session.execute(upsert(OutputItemRow).on_conflict_do_nothing(), rows)


def pending(session: Session, run_id: str, start: int, limit: int) -> list[OutputItemRow]:
    """Items not graded yet, from ordinal ``start`` on."""
    return list(
        session.scalars(
            select(OutputItemRow)
            .where(
                OutputItemRow.run_id == run_id,
                OutputItemRow.status == "pending",
                OutputItemRow.ordinal >= start,
            )
            .order_by(OutputItemRow.ordinal)
            .limit(limit)
        )
    )


def write_outcomes(session: Session, outcomes: Sequence[Json]) -> None:
    """Of items by their ``id``: ``status``, ``results`` and ``sample``."""
    session.execute(update(OutputItemRow), list(outcomes))


def content_of(session: Session, run_id: str) -> list[Json]:
    """What an inline source held."""
    rows = session.execute(
        select(OutputItemRow.item, OutputItemRow.given)
        .where(OutputItemRow.run_id == run_id)
        .order_by(OutputItemRow.ordinal)
    )
    return [{"item": item} | ({"sample": given} if given else {}) for item, given in rows]


def find_item(session: Session, run_id: str, output_item_id: str) -> OutputItemRow | None:
    return session.scalar(
        select(OutputItemRow).where(
            OutputItemRow.id == output_item_id,
            OutputItemRow.run_id == run_id,
            OutputItemRow.status != "pending",
        )
    )


def items_page(
    session: Session, run_id: str, cursor: Cursor, status: str | None
) -> tuple[list[OutputItemRow], bool]:
    asked = select(OutputItemRow).where(OutputItemRow.run_id == run_id)
    asked = asked.where(
        OutputItemRow.status != "pending" if status is None else OutputItemRow.status == status
    )
    return page_of(session, asked, OutputItemRow.id, cursor)


class Graded(NamedTuple):
    """``scores`` and ``passed`` are in the order of the criteria."""

    ordinal: int
    item_sha256: str
    scores: list[float | None]
    passed: list[bool]
    cluster: str | None


def graded(session: Session, run_id: str, cluster: str | None) -> Iterator[Graded]:
    """All items of a run in their order; ``cluster`` names a field of them."""
    rows = session.execute(
        select(
            OutputItemRow.ordinal,
            OutputItemRow.item_sha256,
            func.jsonb_path_query_array(OutputItemRow.results, cast("$[*].score", JSONPATH)),
            func.jsonb_path_query_array(OutputItemRow.results, cast("$[*].passed", JSONPATH)),
            func.jsonb_extract_path_text(OutputItemRow.item, cluster) if cluster else null(),
        )
        .where(OutputItemRow.run_id == run_id)
        .order_by(OutputItemRow.ordinal)
    )
    for row in rows:
        yield Graded(*row)
