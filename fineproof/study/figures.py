"""Figures of a study, as SVG that takes its ink from the page it stands on, light or dark."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import groupby
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fineproof.study.result import ModelContrast, ModelEffect, SizeEffect, Study
from services.common.contracts.evaluator import Verdict

# Told apart without seeing red and green (Okabe and Ito 2008).
COLOURS: dict[Verdict, str] = {
    "HELPS": "#009e73",
    "HURTS": "#d55e00",
    "EQUIVALENT": "#0072b2",
    "INCONCLUSIVE": "#8c8c8c",
}
_LINES = ("#e69f00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")  # of the same palette
_DASHES = ("-", "--", ":", "-.")
_INK = "#010203"  # stands for the page's own colour until the text is written
_WIDTH, _ROW, _FOOT, _PANEL = 8.5, 0.25, 0.9, 1.9  # inches
_ABREAST = 3  # panels side by side


def _style(name: str) -> Any:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": f"fineproof-{name}",  # figures on one page share no id
        "font.family": "sans-serif",
        "font.size": 9,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
    }


@dataclass(frozen=True)
class _Mark:
    diff: float
    ci95: tuple[float, float]
    margin: float
    colour: str


@dataclass(frozen=True)
class _Line:
    """A row of a forest, with a mark for each metric; without any it is a heading."""

    label: str
    marks: dict[str, _Mark] = field(default_factory=dict)


def tuning_svg(study: Study) -> str | None:
    """Every difference of a tuned arm from its base, a panel for each metric."""
    lines: list[_Line] = []
    for (model, dataset), cell in groupby(study.tuning, key=lambda one: (one.model, one.dataset)):
        effects = list(cell)
        lines.append(_Line(f"{model} on {dataset}"))
        lines += [
            _Line(
                arm,
                {
                    one.metric: _Mark(one.diff, one.ci95, one.margin, COLOURS[one.verdict])
                    for one in effects
                    if one.arm == arm
                },
            )
            for arm in dict.fromkeys(one.arm for one in effects)
        ]
    return _forest(lines, "tuning", "tuned minus base, 95 % interval")


def models_svg(study: Study) -> str | None:
    """What tuning does to each model by itself, and of every two the difference of that."""
    lines: list[_Line] = []
    for dataset in dict.fromkeys(one.dataset for one in study.model_effects):
        effects = [one for one in study.model_effects if one.dataset == dataset]
        contrasts = [one for one in study.models if one.dataset == dataset]
        lines.append(_Line(dataset))
        lines += _lines_of_models(effects) + _lines_of_pairs(contrasts)
    return _forest(
        lines, "models", "tuned minus base of each model, and what that differs by, 95 % interval"
    )


def _lines_of_models(effects: Sequence[ModelEffect]) -> list[_Line]:
    return [
        _Line(
            model,
            {
                one.metric: _Mark(one.diff, one.ci95, one.margin, _INK)
                for one in effects
                if one.model == model
            },
        )
        for model in dict.fromkeys(one.model for one in effects)
    ]


def _lines_of_pairs(contrasts: Sequence[ModelContrast]) -> list[_Line]:
    return [
        _Line(
            f"{models[0]} − {models[1]}",
            {
                one.metric: _Mark(one.diff, one.ci95, one.margin, _colour(one))
                for one in contrasts
                if one.models == models
            },
        )
        for models in dict.fromkeys(one.models for one in contrasts)
    ]


def _colour(contrast: ModelContrast) -> str:
    """Whichever of the two suffers more, it is one colour: neither is the better one to lose."""
    return COLOURS["HURTS" if contrast.suffers_more is not None else contrast.verdict]


def sizes_svg(study: Study) -> str | None:
    """Scores by number of training pairs: a panel for each data set and metric, a line for each
    model, dashed by recipe."""
    panels = list(dict.fromkeys((one.dataset, one.metric) for one in study.sizes))
    if not panels:
        return None
    models = list(dict.fromkeys(one.model for one in study.sizes))
    recipes = list(dict.fromkeys(one.recipe for one in study.sizes))
    abreast = min(_ABREAST, len({metric for _, metric in panels}))
    rows = -(-len(panels) // abreast)
    with rc_context(_style("sizes")):
        figure = Figure(figsize=(_WIDTH, _PANEL * rows + _FOOT), layout="constrained")
        grid = figure.subplots(rows, abreast, squeeze=False).flat
        for axes, (dataset, metric) in zip(grid, panels, strict=False):
            shown = [one for one in study.sizes if (one.dataset, one.metric) == (dataset, metric)]
            sizes = sorted({point.pairs for one in shown for point in one.points})
            for one in shown:
                _curve(axes, one, sizes, models, recipes)
            axes.set_title(f"{dataset}: {metric}", fontsize=9)
            axes.set_xticks(range(len(sizes)), [f"{size:,}" for size in sizes])
            _bare(axes, "top", "right")
        for axes in list(figure.axes)[len(panels) :]:
            axes.remove()
        named = {
            label: handle
            for axes in figure.axes
            for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
        }
        figure.supxlabel("training pairs; 0 is the base model", fontsize=9)
        figure.legend(
            list(named.values()), list(named), loc="outside upper center", ncols=3, frameon=False
        )
        return _for_a_page(figure, "Scores by number of training pairs")


def _curve(
    axes: Axes,
    effect: SizeEffect,
    sizes: Sequence[int],
    models: Sequence[str],
    recipes: Sequence[str],
) -> None:
    beside = 0.06 * (models.index(effect.model) - (len(models) - 1) / 2)  # bars do not hide bars
    axes.errorbar(
        [sizes.index(point.pairs) + beside for point in effect.points],
        [point.mean for point in effect.points],
        yerr=[
            [max(0.0, point.mean - point.ci95[0]) for point in effect.points],
            [max(0.0, point.ci95[1] - point.mean) for point in effect.points],
        ],
        label=effect.model if len(recipes) == 1 else f"{effect.model}, {effect.recipe}",
        color=_LINES[models.index(effect.model) % len(_LINES)],
        linestyle=_DASHES[recipes.index(effect.recipe) % len(_DASHES)],
        marker="o",
        markersize=3.5,
        linewidth=1.4,
        elinewidth=0.8,
        capsize=2,
    )


def _forest(lines: Sequence[_Line], name: str, title: str) -> str | None:
    """A column for each metric, on its own scale; None where there is nothing to draw."""
    metrics = list(dict.fromkeys(metric for line in lines for metric in line.marks))
    if not metrics:
        return None
    height = _ROW * len(lines) + _FOOT
    with rc_context(_style(name)):
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        columns = figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0]
        for axes, metric in zip(columns, metrics, strict=True):
            marks = [(at, one) for at, line in enumerate(lines) if (one := line.marks.get(metric))]
            _draw(axes, marks)
            axes.set_title(metric, fontsize=9)
            axes.tick_params(axis="y", length=0)
            _bare(axes, "top", "right", "left")
        columns[0].set_yticks(range(len(lines)), [line.label for line in lines])
        columns[0].set_ylim(len(lines) - 0.4, -0.6)
        for label, line in zip(columns[0].get_yticklabels(), lines, strict=True):
            label.set_fontweight("normal" if line.marks else "bold")
        figure.supxlabel(f"{title}; shaded: the margin of equivalence", fontsize=9)
        return _for_a_page(figure, title)


def _draw(axes: Axes, marks: Sequence[tuple[int, _Mark]]) -> None:
    for at, mark in marks:
        axes.fill_betweenx(
            (at - 0.5, at + 0.5), -mark.margin, mark.margin, color="#8c8c8c", alpha=0.18, lw=0
        )
        axes.plot(mark.ci95, (at, at), color=mark.colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot(mark.diff, at, "o", color=mark.colour, markersize=4.5)
    axes.axvline(0, color=_INK, linewidth=0.8)
    reach = max(max(2 * mark.margin, *map(abs, mark.ci95)) for _, mark in marks)
    axes.set_xlim(-1.08 * reach, 1.08 * reach)


def _bare(axes: Axes, *sides: str) -> None:
    axes.patch.set_alpha(0)
    for side in sides:
        axes.spines[side].set_visible(False)


def _for_a_page(figure: Figure, title: str) -> str:
    """Inline SVG: no XML prologue or metadata, the page's ink, a width that yields, a title."""
    figure.patch.set_alpha(0)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", svg)  # "axes_1", which all figures have
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return re.sub(
        r"(<svg[^>]*)>",
        lambda found: f'{found[1]} role="img"><title>{escape(title)}</title>',
        svg,
        count=1,
    )
