"""A study as a page and as Markdown, for people."""

from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from fineproof.study.figures import COLOURS, models_svg, sizes_svg, tuning_svg
from fineproof.study.models import reading
from fineproof.study.result import SizeEffect, Study
from fineproof.study.wording import listed, plural
from services.evaluator.statistics.power import MIN_CLUSTERS
from services.evaluator.verdict import signed


@lru_cache(maxsize=1)
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("fineproof.study"),
        autoescape=select_autoescape(disabled_extensions=("md.jinja",), default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters.update(
        cell=_cell, interval=_interval, listed=listed, reading=reading, signed=signed
    )
    return templates


def render_html(study: Study) -> str:
    """One file without any other: style and figures are inside, nothing is fetched."""
    figures = {
        name: Markup(svg) if (svg := draw(study)) is not None else None  # noqa: S704  # our drawing
        for name, draw in (("tuning", tuning_svg), ("sizes", sizes_svg), ("models", models_svg))
    }
    page = _templates().get_template("study.html.jinja")
    return page.render(**_context(study), figures=figures, colours=COLOURS)


def render_markdown(study: Study) -> str:
    return _templates().get_template("study.md.jinja").render(**_context(study))


def _context(study: Study) -> dict[str, Any]:
    return {
        "study": study,
        "experiments": plural(len(study.runs), "experiment"),
        "sizes": sorted({point.pairs for one in study.sizes for point in one.points}),
        "recipes": len({one.recipe for one in study.sizes}),
        "means": [(one, _means(one)) for one in study.sizes],
        "min_clusters": MIN_CLUSTERS,
    }


def _means(effect: SizeEffect) -> dict[int, float]:
    return {point.pairs: point.mean for point in effect.points}


def _interval(ci95: tuple[float, float]) -> str:
    return f"{signed(ci95[0])} to {signed(ci95[1])}"


def _cell(text: str) -> str:
    """Text inside a Markdown table or line: nothing in it may end the cell or begin markup."""
    flat = " ".join(text.split())
    for mark in "\\|`*_[]<>#":
        flat = flat.replace(mark, f"\\{mark}")
    return flat
