"""How far a judge agrees with what is known: with an order, with right and wrong, with people.

Every figure comes with a 95 % interval of a cluster bootstrap: the exam's questions about one
document stand or fall together, and so do the variants made of one question.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from services.evaluator.statistics.bootstrap import interval
from services.evaluator.statistics.clusters import Clustered, Floats

_CELLS = 4_000_000  # of the tables that are counted at once
_Tables = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Estimate:
    """``low`` and ``high`` bound the 95 % interval; None from fewer than two clusters."""

    value: float
    low: float | None
    high: float | None
    n: int
    clusters: int


def rank_agreement(
    known: Sequence[float],
    scores: Sequence[float],
    clusters: Sequence[str],
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """Kendall's τ-b of ``scores`` with the ``known`` order of the same answers, −1 to 1.

    τ-b = (C − D) / √((P − T_known)(P − T_scores)) of P pairs, C concordant, D discordant, T tied:
    M. Kendall, "The Treatment of Ties in Ranking Problems", Biometrika 33(3), 1945. A judge that
    gives every answer the same score agrees with no order: 0. ValueError when the order is flat.
    """
    if len(set(known)) < 2:
        raise ValueError("a known order needs at least two ranks")
    return _of_tables(known, scores, clusters, tau_b, resamples=resamples, seed=seed)


def roc_auc(
    right: Sequence[bool],
    scores: Sequence[float],
    clusters: Sequence[str],
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """Area under the ROC curve: how often a right answer scores above a wrong one, ties half.

    It is Mann and Whitney's U over its number of pairs (J. Hanley and B. McNeil, "The Meaning and
    Use of the Area under a ROC Curve", Radiology 143, 1982); 0.5 tells nothing. ValueError unless
    there are right answers and wrong ones.
    """
    if len(set(map(bool, right))) < 2:
        raise ValueError("right and wrong answers are both needed")
    flags = [float(bool(flag)) for flag in right]
    return _of_tables(flags, scores, clusters, area, resamples=resamples, seed=seed)


def weighted_kappa(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[str],
    *,
    categories: Sequence[float],
    weights: Literal["linear", "quadratic"] = "quadratic",
    resamples: int = 2_000,
    seed: int = 0,
) -> Estimate:
    """Weighted κ of two raters of the same answers, such as a judge and a person.

    κ_w = 1 − Σ w·observed / Σ w·expected by chance, w the distance of two categories or its square:
    J. Cohen, "Weighted Kappa", Psychological Bulletin 70(4), 1968. ``categories`` are all scores a
    rater may give, such as 1 to 5; a score that is none of them, as a mean of ten runs may be,
    counts as the nearest. Two raters that never leave one and the same category: 0, nothing beyond
    chance.
    """
    grid = np.sort(np.asarray(categories, dtype=np.float64))
    if len(grid) < 2:
        raise ValueError("two categories at least are needed")
    distance = np.abs(grid[:, None] - grid[None, :])
    if weights == "quadratic":
        distance = distance**2

    def kappa(tables: Floats) -> Floats:
        totals = tables.sum(axis=(1, 2))
        expected = np.einsum("ri,rj,ij->r", tables.sum(axis=2), tables.sum(axis=1), distance)
        observed = np.einsum("rij,ij->r", tables, distance) * totals
        return 1 - _ratio(observed, expected, otherwise=1.0)

    return _of_tables(
        _nearest(first, grid),
        _nearest(second, grid),
        clusters,
        kappa,
        categories=grid,
        resamples=resamples,
        seed=seed,
    )


def length_bias(
    correctness: Sequence[float],
    lengths: Sequence[float],
    scores: Sequence[float],
    clusters: Sequence[str],
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> Estimate | None:
    """Slope of ``scores`` on ``lengths`` among answers of equal known ``correctness``.

    Least squares with an intercept for each level of correctness: both sides are centred within
    their level (R. Frisch and F. Waugh, Econometrica 1(4), 1933). In score points per unit of
    ``lengths``: give the logarithm to base 2 of the words to read it as points per doubling. 0 is
    no bias. None where no two answers of equal correctness differ in length.
    """
    x, y = _finite(lengths), _finite(scores)
    codes, labels = _codes(clusters, len(x)), np.unique(_finite(correctness), return_inverse=True)
    levels, groups = len(labels[0]), codes.max() + 1
    if not len(x) == len(y) == len(labels[1]):
        raise ValueError("each answer needs its correctness, its length and its score")
    cells = codes * levels + labels[1]

    def sums(values: Floats) -> Floats:
        """Of shape ``(clusters, levels)``."""
        flat = np.bincount(cells, weights=values, minlength=groups * levels)
        return flat.reshape(groups, levels).astype(np.float64)

    parts = [sums(values) for values in (np.ones_like(x), x, y, x * x, x * y)]

    def slopes(drawn: Floats) -> Floats:
        n, sx, sy, sxx, sxy = (drawn @ part for part in parts)
        seen = np.maximum(n, 1)
        spread = (sxx - sx * sx / seen).sum(axis=1)
        # What is left of rounding is no spread.
        spread[spread <= 1e-9 * np.abs(sxx).sum(axis=1)] = 0
        return _ratio((sxy - sx * sy / seen).sum(axis=1), spread, otherwise=np.nan)

    value = float(slopes(np.ones((1, groups)))[0])
    if np.isnan(value):
        return None
    found = slopes(_draws(groups, resamples, seed)) if groups > 1 else np.empty(0)
    return _estimate(value, found[np.isfinite(found)], codes)


def tau_b(tables: Floats) -> Floats:
    """τ-b of each of ``tables``, of shape ``(resamples, ranks, scores)``, both axes ascending."""
    concordant, discordant = _pairs(tables)
    totals, rows, columns = tables.sum(axis=(1, 2)), tables.sum(axis=2), tables.sum(axis=1)
    untied = [(totals**2 - (side**2).sum(axis=1)) / 2 for side in (rows, columns)]
    return _ratio(concordant - discordant, np.sqrt(untied[0] * untied[1]), otherwise=0.0)


def area(tables: Floats) -> Floats:
    """AUC of each of ``tables``, of shape ``(resamples, 2, scores)``: wrong, then right."""
    concordant, discordant = _pairs(tables)
    pairs = tables.sum(axis=2).prod(axis=1)
    return (1 + _ratio(concordant - discordant, pairs, otherwise=0.0)) / 2


def _pairs(tables: Floats) -> tuple[Floats, Floats]:
    """Pairs of answers that two rankings order alike, and those they order oppositely."""
    below = np.cumsum(tables, axis=1)[:, :-1]  # of lower rank than row 1, 2, ...
    left = np.cumsum(below, axis=2)
    here = tables[:, 1:]
    concordant = (here[:, :, 1:] * left[:, :, :-1]).sum(axis=(1, 2))
    discordant = (here * (left[:, :, -1:] - left)).sum(axis=(1, 2))
    return concordant, discordant


def _of_tables(
    rows: Sequence[float] | Floats,
    columns: Sequence[float] | Floats,
    clusters: Sequence[str],
    figure: _Tables,
    *,
    resamples: int,
    seed: int,
    categories: Floats | None = None,
) -> Estimate:
    """A figure of the table in which two ratings of the same answers are crossed.

    A resample of whole clusters is a weighted sum of their tables, so that all are computed at
    once; without ``categories`` each side has those it shows.
    """
    first, second = _finite(rows), _finite(columns)
    if len(first) != len(second):
        raise ValueError("both ratings must be of the same answers")
    codes = _codes(clusters, len(first))
    sides = [
        np.unique(side, return_inverse=True)
        if categories is None
        else (categories, np.searchsorted(categories, side))
        for side in (first, second)
    ]
    shape = (int(codes.max()) + 1, len(sides[0][0]), len(sides[1][0]))
    flat = np.ravel_multi_index((codes, sides[0][1], sides[1][1]), shape)
    tables = np.bincount(flat, minlength=int(np.prod(shape))).reshape(shape[0], -1).astype(float)
    groups, cells = tables.shape

    def of(drawn: Floats) -> Floats:
        return figure((drawn @ tables).reshape(-1, *shape[1:]))

    value = float(of(np.ones((1, groups)))[0])
    found: list[Floats] = []
    if groups > 1:
        drawn, step = _draws(groups, resamples, seed), max(1, _CELLS // cells)
        found = [of(drawn[start : start + step]) for start in range(0, resamples, step)]
    return _estimate(value, np.concatenate(found) if found else np.empty(0), codes)


def _estimate(value: float, found: Floats, codes: NDArray[np.intp]) -> Estimate:
    sizes = np.bincount(codes).astype(np.float64)
    n, clusters = len(codes), len(sizes)
    if clusters < 2 or not len(found):
        return Estimate(value, None, None, n, clusters)
    effective = Clustered(sums=sizes, sizes=sizes).effective
    low, high = interval(np.sort(found), level=0.95, clusters=effective)
    return Estimate(value, low, high, n, clusters)


def _draws(clusters: int, resamples: int, seed: int) -> Floats:
    """How often each cluster is drawn in each resample, of shape ``(resamples, clusters)``."""
    generator = np.random.default_rng(seed)
    even = np.full(clusters, 1 / clusters)
    return generator.multinomial(clusters, even, size=resamples).astype(np.float64)


def _codes(clusters: Sequence[str], n: int) -> NDArray[np.intp]:
    if len(clusters) != n or not n:
        raise ValueError("one cluster is needed for each answer, and at least one answer")
    return np.unique(np.asarray(clusters, dtype=object).astype(str), return_inverse=True)[1]


def _finite(values: Sequence[float] | Floats) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise ValueError("values must be finite: leave out what is unscored")
    return array


def _nearest(values: Sequence[float], grid: Floats) -> Floats:
    distances = np.abs(_finite(values)[:, None] - grid[None, :])
    found: Floats = grid[distances.argmin(axis=1)]
    return found


def _ratio(above: Floats, below: Floats, *, otherwise: float) -> Floats:
    """``above / below``, and ``otherwise`` where ``below`` is 0."""
    found: Floats = np.where(below > 0, above / np.where(below > 0, below, 1), otherwise)
    return found
