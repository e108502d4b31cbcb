"""A report as a page and as Markdown, for people."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, get_args

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from services.common.contracts.evaluator import Comparison, Report
from services.common.contracts.exam_figures import ExamEstimate
from services.common.contracts.findings import Cause
from services.common.contracts.generator import Condition
from services.evaluator.figures import COLOURS
from services.evaluator.metrics.judged import metrics_of
from services.evaluator.sizes import size_tables
from services.evaluator.statistics.power import MIN_CLUSTERS
from services.evaluator.verdict import signed


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
    templates.filters.update(
        signed=signed,
        number=_number,
        maybe=_maybe,
        moment=_moment,
        cell=_cell,
        estimate=_estimate,
        point=_point,
    )
    return templates


def render_html(report: Report, forest: str, sizes: str | None = None) -> str:
    """One file without any other: style and figure are inside, nothing is fetched."""
    # The figures are our own drawing; their labels were escaped when they were made.
    return (
        _templates()
        .get_template("report.html.jinja")
        .render(
            **_context(report),
            forest=Markup(forest),  # noqa: S704
            size_figure=Markup(sizes) if sizes else None,  # noqa: S704
        )
    )


def render_markdown(report: Report) -> str:
    return _templates().get_template("report.md.jinja").render(**_context(report))


def _context(report: Report) -> dict[str, Any]:
    return {
        "report": report,
        "metrics": metrics_of(report.spec),
        "causes": get_args(Cause),
        "colours": COLOURS,
        "tables": [(condition, _rows(report, condition)) for condition in report.conditions],
        "size_tables": size_tables(report.sizes),
        "explored": [c for c in report.comparisons if not c.primary],
        "min_clusters": MIN_CLUSTERS,
        "seconds": sum(report.timings.values()),
    }


def _rows(report: Report, condition: Condition) -> list[Comparison]:
    return [c for c in report.comparisons if c.primary and c.condition == condition]


def _number(value: float) -> str:
    return f"{value:.2f}"


def _maybe(value: float | None) -> str:
    return "–" if value is None else _number(value)


def _estimate(found: ExamEstimate | None) -> str:
    if found is None or found.ci95 is None:
        return _point(found)
    return f"{found.value:.2f} ({found.ci95[0]:.2f} to {found.ci95[1]:.2f})"


def _point(found: ExamEstimate | None) -> str:
    return _maybe(found.value if found else None)


def _moment(unix: int) -> str:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _cell(text: str) -> str:
    """Text inside a Markdown table or line: nothing in it may end the cell or begin markup."""
    flat = " ".join(text.split())
    for mark in "\\|`*_[]<>#":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
