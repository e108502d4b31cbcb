"""OpenAI's cursor lists: ``after`` names the last id seen, ``has_more`` says whether to go on."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict
from sqlalchemy import Select
from sqlalchemy.orm import Session

from services.common.contracts.base import Page, Wire
from services.common.errors import InvalidRequest

Row = TypeVar("Row")
Item = TypeVar("Item", bound=Wire)


class Cursor(BaseModel):
    model_config = ConfigDict(frozen=True)

    after: str | None = None
    limit: int = 20
    order: Literal["asc", "desc"] = "desc"


def get_cursor(
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Cursor:
    return Cursor(after=after, limit=limit, order=order)


CursorDep = Annotated[Cursor, Depends(get_cursor)]


def page_of(
    session: Session, statement: Select[Row], key: Any, cursor: Cursor
) -> tuple[list[Row], bool]:
    """Rows of one page in the order of ``key`` (a column whose ids sort by time), and has_more."""
    if cursor.after is not None:
        if "\x00" in cursor.after:
            raise InvalidRequest("'after' is not an id.", param="after")
        statement = statement.where(
            key > cursor.after if cursor.order == "asc" else key < cursor.after
        )
    ordered = statement.order_by(key.asc() if cursor.order == "asc" else key.desc())
    rows = list(session.scalars(ordered.limit(cursor.limit + 1)))
    return rows[: cursor.limit], len(rows) > cursor.limit


def to_page(items: Sequence[Item], has_more: bool) -> Page[Item]:
    ids = [str(getattr(item, "id")) for item in items]  # noqa: B009 - Wire itself has no id
    return Page[Item](
        data=list(items),
        has_more=has_more,
        first_id=ids[0] if ids else None,
        last_id=ids[-1] if ids else None,
    )
