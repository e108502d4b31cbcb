"""A report as a page and as Markdown, for people."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from services.common.contracts.evaluator import Comparison, Report
from services.common.contracts.generator import Condition
from services.evaluator.figures import COLOURS
from services.evaluator.metrics import METRICS
from services.evaluator.verdict import MIN_CLUSTERS, signed


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("services.evaluator"),
        autoescape=select_autoescape(disabled_extensions=("md.jinja",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters.update(signed=signed, number=_number, moment=_moment, cell=_cell)
    return templates


def render_html(report: Report, forest: str) -> str:
    """One file without any other: style and figure are inside, nothing is fetched."""
    # The figure is our own drawing; its labels were escaped when it was made.
    return (
        _templates()
        .get_template("report.html.jinja")
        .render(
            **_context(report),
            forest=Markup(forest),  # noqa: S704
        )
    )


def render_markdown(report: Report) -> str:
    return _templates().get_template("report.md.jinja").render(**_context(report))


def _context(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "metrics": METRICS,
        "colours": COLOURS,
        "tables": [(condition, _rows(report, condition)) for condition in report.conditions],
        "explored": [c for c in report.comparisons if not c.primary],
        "min_clusters": MIN_CLUSTERS,
        "seconds": sum(report.timings.values()),
    }


def _rows(report: Report, condition: Condition) -> list[Comparison]:
    return [c for c in report.comparisons if c.primary and c.condition == condition]


def _number(value: float) -> str:
    return f"{value:.2f}"


def _moment(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _cell(text: str) -> str:
    """Text inside a Markdown table or line: nothing in it may end the cell or begin markup."""
    flat = " ".join(text.split())
    for mark in "\\|`*_[]<>#":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
