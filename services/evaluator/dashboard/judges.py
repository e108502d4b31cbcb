"""The page of judges: who sat which exam, and whether it passed."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from starlette.responses import Response

from services.common.contracts.base import Page
from services.common.contracts.exam import Exam
from services.common.pagination import Cursor
from services.evaluator.dashboard.pages import Pages, get_pages
from services.evaluator.deps import DatabaseDep
from services.evaluator.judges.exam import service

router = APIRouter(include_in_schema=False)


def get_exams(
    db: DatabaseDep, after: Annotated[str | None, Query(max_length=200)] = None
) -> Page[Exam]:
    with db.transaction() as session:
        return service.page(session, Cursor(after=after, limit=20))


@router.get("/judges")
def judges(
    pages: Annotated[Pages, Depends(get_pages)], exams: Annotated[Page[Exam], Depends(get_exams)]
) -> Response:
    return pages.render("judges.html", exams=exams.data, older=exams.has_more)
