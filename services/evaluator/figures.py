"""Figures of a report, as SVG that takes its ink from the page it stands on, light or dark."""

import io
import re
from collections.abc import Sequence
from html import escape
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from services.common.contracts.evaluator import Comparison, Report, Verdict
from services.common.contracts.findings import SizeCurve

# Told apart without seeing red and green (Okabe and Ito 2008).
COLOURS: dict[Verdict, str] = {
    "HELPS": "#009e73",
    "HURTS": "#d55e00",
    "EQUIVALENT": "#0072b2",
    "INCONCLUSIVE": "#8c8c8c",
}
_INK = "#010203"  # stands for the page's own colour until the text is written
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fineproof",
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}
_LINES = ("#e69f00", "#0072b2", "#009e73", "#cc79a7")  # of the same palette
_PANELS, _PANEL = 3, 1.9  # metrics side by side; inches of height
_WIDTH, _ROW, _HEAD, _FOOT = 7.5, 0.27, 0.15, 0.6  # inches


def forest_svg(report: Report) -> str:
    """Every primary difference with its 95 % interval, in its verdict's colour, and the margin."""
    shown = [comparison for comparison in report.comparisons if comparison.primary]
    height = _HEAD + _FOOT + _ROW * max(len(shown), 1)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height))
        axes = figure.add_axes((0.4, _FOOT / height, 0.57, 1 - (_HEAD + _FOOT) / height))
        _draw(axes, shown, report.spec.statistics.margin)
        figure.patch.set_alpha(0)
        axes.patch.set_alpha(0)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return _for_a_page(drawn.getvalue(), report.headline)


def sizes_svg(report: Report) -> str | None:
    """Means by number of training pairs: a panel for each metric, a line for each condition and
    recipe, bars for 95 % intervals. None where no arms differ in their pairs alone."""
    metrics = list(dict.fromkeys(curve.metric for curve in report.sizes))
    if not metrics:
        return None
    recipes = list(dict.fromkeys(curve.recipe for curve in report.sizes))
    sizes = sorted({point.pairs for curve in report.sizes for point in curve.points})
    rows = -(-len(metrics) // _PANELS)
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, _PANEL * rows + _FOOT), layout="constrained")
        panels = figure.subplots(rows, _PANELS, squeeze=False).flat
        for axes, metric in zip(panels, metrics, strict=False):
            for curve in (curve for curve in report.sizes if curve.metric == metric):
                _draw_curve(axes, curve, sizes, report.conditions, recipes)
            axes.set_title(metric, fontsize=9)
            axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
        for axes in list(figure.axes)[len(metrics) :]:
            axes.remove()
        for axes in figure.axes:
            axes.patch.set_alpha(0)
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        figure.patch.set_alpha(0)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None})
    return _for_a_page(drawn.getvalue(), "Means by number of training pairs")


def _draw_curve(
    axes: Axes,
    curve: SizeCurve,
    sizes: Sequence[int],
    conditions: Sequence[str],
    recipes: Sequence[str],
) -> None:
    label = curve.condition if len(recipes) == 1 else f"{curve.recipe}, {curve.condition}"
    at = [sizes.index(point.pairs) for point in curve.points]
    reach = [
        [max(0.0, point.mean - point.ci95[0]) for point in curve.points],
        [max(0.0, point.ci95[1] - point.mean) for point in curve.points],
    ]
    axes.errorbar(
        at,
        [point.mean for point in curve.points],
        yerr=reach,
        label=label,
        color=_LINES[conditions.index(curve.condition) % len(_LINES)],
        linestyle=("-", "--", ":")[recipes.index(curve.recipe) % 3],
        marker="o",
        markersize=3.5,
        linewidth=1.4,
        elinewidth=0.8,
        capsize=2,
    )


def _draw(axes: Axes, shown: Sequence[Comparison], margin: float) -> None:
    margins = [margin if one.margin is None else one.margin for one in shown]
    for row, each in enumerate(margins):
        axes.fill_betweenx(
            (row - 0.5, row + 0.5), -each, each, color="#8c8c8c", alpha=0.18, linewidth=0
        )
    axes.axvline(0, color=_INK, linewidth=0.8)
    for row, comparison in enumerate(shown):
        colour = COLOURS[comparison.verdict]
        axes.plot(comparison.ci95, (row, row), color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(comparison.diff, row, "o", color=colour, markersize=5)
    axes.set_yticks(
        range(len(shown)),
        [f"{c.arm} · {c.condition} · {c.metric}" for c in shown],
    )
    axes.set_ylim(len(shown) - 0.4, -0.6)
    reach = max(
        [*(2 * each for each in margins or [margin]), *(abs(end) for c in shown for end in c.ci95)]
    )
    axes.set_xlim(-1.08 * reach, 1.08 * reach)
    axes.set_xlabel("tuned minus base, 95 % interval; shaded: the margin of equivalence")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _for_a_page(svg: str, title: str) -> str:
    """Inline SVG: no XML prologue or metadata, the page's ink, a width that yields, a title."""
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub(r"(<svg[^>]*)>", rf'\1 role="img"><title>{escape(title)}</title>', svg, count=1)
