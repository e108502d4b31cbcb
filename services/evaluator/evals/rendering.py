"""A run as a page, for people."""

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy.orm import Session

from services.common.pagination import Cursor
from services.evaluator.evals import service

MOST_SHOWN = 100  # of the items that failed, and of those without a score


@lru_cache(maxsize=1)
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("services.evaluator.evals"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render_run(session: Session, eval_id: str, run_id: str) -> str:
    """One file without any other: nothing in it runs, and nothing is fetched."""
    run = service.get_run(session, eval_id, run_id, content=False)
    cursor = Cursor(limit=MOST_SHOWN, order="asc")
    items = [
        item
        for status in ("error", "fail")
        for item in service.items_page(session, eval_id, run_id, cursor, status).data
    ]
    page = _templates().get_template("run.html.jinja")
    return page.render(run=run, of=service.get(session, eval_id), items=items, most=MOST_SHOWN)
