"""Where marks of the two plots go; the templates draw them as inline SVG.

A drawing library would fix colours and text sizes at render time. These plots take theirs from the
style sheet (light and dark, any width), keep their text readable by screen readers, and need only
ticks and a linear scale: x is a percentage of the width, y is in pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.common.contracts.evaluator import Comparison
from services.evaluator.metrics import METRICS

CURVE_HEIGHT = 240
MOST_POINTS = 600


@dataclass(frozen=True)
class Tick:
    """``minor``: a narrow screen does without its label."""

    at: float
    label: str
    minor: bool = False


@dataclass(frozen=True)
class Scale:
    """A linear scale from ``low`` to ``high`` with round ticks inside."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def percent(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 3)


def scale(values: Sequence[float], *, wanted: int = 5) -> Scale:
    """The tightest scale with about ``wanted`` round steps (1, 2 or 5 times a power of ten) that
    holds ``values``; what is not finite is left out."""
    finite = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-9 * max(1.0, abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / wanted
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(n * magnitude for n in (1, 2, 5, 10) if n * magnitude >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(round(n * step, 10) for n in range(first, last + 1))
    return Scale(ticks[0], ticks[-1], ticks)


@dataclass(frozen=True)
class ForestRow:
    """One interval: left and right end, point estimate, in percent of the width."""

    comparison: Comparison
    left: float
    right: float
    point: float


@dataclass(frozen=True)
class ForestPanel:
    """One metric's differences, under one another on one scale.

    ``zero`` is no difference, ``margin_left`` to ``margin_right`` what counts as none;
    ``right_is_better`` is false for what is best rare, such as refusals.
    """

    metric: str
    right_is_better: bool
    ticks: tuple[Tick, ...]
    zero: float
    margin_left: float
    margin_right: float
    rows: tuple[ForestRow, ...]


def forest(comparisons: Sequence[Comparison], *, margin: float) -> list[ForestPanel]:
    """A panel a metric, in the order given; ``margin`` is theirs that have none of their own.

    Metrics whose means all lie between 0 and 1 share one scale, so that panels compare by eye.
    """
    metrics = list(dict.fromkeys(comparison.metric for comparison in comparisons))
    of_metric = {name: [c for c in comparisons if c.metric == name] for name in metrics}
    shares = [
        name
        for name in metrics
        if all(0 <= mean <= 1 for c in of_metric[name] for mean in (c.base, c.tuned))
    ]

    def margin_of(name: str) -> float:
        own = of_metric[name][0].margin
        return margin if own is None else own

    together = [c for name in shares for c in of_metric[name]]
    common = _around_zero(together, max([margin, *map(margin_of, shares)]))
    return [
        _panel(
            name,
            of_metric[name],
            common if name in shares else _around_zero(of_metric[name], margin_of(name)),
            margin_of(name),
        )
        for name in metrics
    ]


def _around_zero(comparisons: Sequence[Comparison], margin: float) -> Scale:
    bounds = [bound for c in comparisons for bound in (*c.ci95, c.diff)]
    return scale([*bounds, -1.2 * margin, 1.2 * margin], wanted=6)


def _panel(
    metric: str, comparisons: Sequence[Comparison], across: Scale, margin: float
) -> ForestPanel:
    known = METRICS.get(metric)
    return ForestPanel(
        metric=metric,
        right_is_better=known is None or known.higher_is_better is not False,
        ticks=_ticks(across),
        zero=across.percent(0),
        margin_left=across.percent(-margin),
        margin_right=across.percent(margin),
        rows=tuple(
            ForestRow(
                comparison,
                left=across.percent(comparison.ci95[0]),
                right=across.percent(comparison.ci95[1]),
                point=across.percent(comparison.diff),
            )
            for comparison in comparisons
        ),
    )


def _ticks(across: Scale) -> tuple[Tick, ...]:
    step = across.ticks[1] - across.ticks[0]
    return tuple(
        Tick(
            across.percent(tick),
            "0" if tick == 0 else f"{tick:+g}".replace("-", "−"),
            minor=round(tick / step) % 2 == 1,
        )
        for tick in across.ticks
    )


@dataclass(frozen=True)
class Line:
    """``points`` is the ``points`` attribute of a polyline on a 1000 by ``CURVE_HEIGHT`` canvas."""

    name: str
    points: str
    last_x: float
    last_y: float


@dataclass(frozen=True)
class Curve:
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    height: int = CURVE_HEIGHT


def curve(series: dict[str, Sequence[tuple[float, float]]]) -> Curve | None:
    """Curves of (step, value) points, by name; None when there is no point to draw.

    Thinned to ``MOST_POINTS`` a line, the last point kept.
    """
    kept = {
        name: thinned([(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)])
        for name, points in series.items()
    }
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return None
    xs = [x for points in kept.values() for x, _ in points]
    ys = [y for points in kept.values() for _, y in points]
    across = replace(scale(xs), low=min(xs), high=max(xs)) if min(xs) < max(xs) else scale(xs)
    up = scale([*ys, 0.0], wanted=4)

    def height_of(value: float) -> float:
        return round(CURVE_HEIGHT * (1 - up.percent(value) / 100), 2)

    return Curve(
        lines=tuple(
            Line(
                name,
                " ".join(f"{10 * across.percent(x):.1f},{height_of(y)}" for x, y in points),
                across.percent(points[-1][0]),
                height_of(points[-1][1]),
            )
            for name, points in kept.items()
        ),
        x_ticks=tuple(
            Tick(across.percent(tick), f"{tick:g}")
            for tick in across.ticks
            if across.low <= tick <= across.high
        ),
        y_ticks=tuple(Tick(height_of(tick), f"{tick:g}") for tick in up.ticks),
    )


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    if len(points) <= MOST_POINTS:
        return list(points)
    stride = math.ceil(len(points) / (MOST_POINTS - 1))
    return [*points[::stride], points[-1]]
