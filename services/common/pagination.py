"""OpenAI's cursor lists: ``after`` names the last id seen, ``has_more`` says whether to go on."""

from collections.abc import Callable, Sequence
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
    before: str | None = None
    limit: int = 20
    order: Literal["asc", "desc"] = "desc"


def get_cursor(
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 20,
    order: Literal["asc", "desc"] = "desc",
) -> Cursor:
    return Cursor(after=after, limit=limit, order=order)


CursorDep = Annotated[Cursor, Depends(get_cursor)]


def get_two_way_cursor(
    cursor: CursorDep, before: Annotated[str | None, Query(max_length=200)] = None
) -> Cursor:
    return cursor.model_copy(update={"before": before})


TwoWayCursorDep = Annotated[Cursor, Depends(get_two_way_cursor)]


def page_of(
    session: Session,
    statement: Select[Row],
    key: Any,
    cursor: Cursor,
    *,
    place: Callable[[str], Any] = lambda id_: id_,
) -> tuple[list[Row], bool]:
    """Rows of one page in the order of ``key``, and has_more.

    ``key`` is a column whose values grow with time; ``place`` gives the one of a cursor's id, where
    it is not the id itself. A page before an id is the one that ends next to it.
    """
    rising = cursor.order == "asc"
    for name, id_, behind in (("after", cursor.after, True), ("before", cursor.before, False)):
        if id_ is not None:
            if "\x00" in id_:
                raise InvalidRequest(f"'{name}' is not an id.", param=name)
            here = place(id_)
            statement = statement.where(key > here if rising == behind else key < here)
    backwards = cursor.before is not None and cursor.after is None
    ordered = statement.order_by(key.asc() if rising != backwards else key.desc())
    rows = list(session.scalars(ordered.limit(cursor.limit + 1)))
    page = rows[: cursor.limit]
    return (page[::-1] if backwards else page), len(rows) > cursor.limit


def to_page(items: Sequence[Item], has_more: bool) -> Page[Item]:
    ids = [str(getattr(item, "id")) for item in items]  # noqa: B009 - Wire itself has no id
    return Page[Item](
        data=list(items),
        has_more=has_more,
        first_id=ids[0] if ids else None,
        last_id=ids[-1] if ids else None,
    )
