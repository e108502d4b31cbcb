"""Experiments whose truth is known: scores of both arms on items that cluster in documents.

A score is f(μ + item + document + noise), of variances 1/2, icc/2 and (1 − icc)/2: both arms meet
the same item, each has luck of its own with a document. Where μ is the same nothing differs but
luck, whatever f.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from services.evaluator.statistics.clusters import Floats
from services.evaluator.statistics.scales import ONE_TO_FIVE, UNIT, Scale

_EDGES = np.array([1.5, 2.5, 3.5, 4.5]) - 3.5  # between whole scores around a mean of 3.5


@dataclass(frozen=True)
class Scores:
    """A kind of score: ``of`` maps latent normals to it, ``mean`` is its mean at a shift."""

    name: str
    scale: Scale
    of: Callable[[Floats], Floats]
    mean: Callable[[float], float]


def _averaged(latent: Floats) -> Floats:
    return 3.0 + 0.6 * latent


def _whole(latent: Floats) -> Floats:
    return 1.0 + np.searchsorted(_EDGES, latent).astype(np.float64)


def _right(rate: float) -> Scores:
    cut = float(norm.isf(rate))
    return Scores(
        f"yes or no, base {rate:g}",
        UNIT,
        lambda latent: (latent > cut).astype(np.float64),
        lambda shift: float(norm.sf(cut - shift)),
    )


AVERAGED = Scores("1 to 5, mean of runs", ONE_TO_FIVE, _averaged, lambda shift: 3.0 + 0.6 * shift)
WHOLE = Scores(
    "1 to 5, whole", ONE_TO_FIVE, _whole, lambda shift: 1.0 + float(norm.sf(_EDGES - shift).sum())
)
EVEN = _right(0.5)
EASY = _right(0.9)
KINDS = (AVERAGED, WHOLE, EVEN, EASY)


@dataclass(frozen=True)
class World:
    """``effect`` is the true mean difference, in score points."""

    kind: Scores
    sizes: tuple[int, ...]
    icc: float
    effect: float

    @cached_property
    def labels(self) -> list[str]:
        return [str(number) for number, size in enumerate(self.sizes) for _ in range(size)]

    @cached_property
    def shift(self) -> float:
        """Of the latent mean that makes the effect."""
        if not self.effect:
            return 0.0
        base = self.kind.mean(0.0)
        return float(brentq(lambda x: self.kind.mean(x) - base - self.effect, -9, 9))

    def draw(self, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Scores of the base arm and of the tuned one, of shape ``(items,)``."""
        items = len(self.labels)
        item = generator.normal(0, np.sqrt(0.5), items)

        def arm(shift: float) -> Floats:
            document = generator.normal(0, np.sqrt(self.icc / 2), len(self.sizes))
            noise = generator.normal(0, np.sqrt((1 - self.icc) / 2), items)
            return self.kind.of(shift + item + document.repeat(self.sizes) + noise)

        return arm(0.0), arm(self.shift)


def even(documents: int, each: int) -> tuple[int, ...]:
    return (each,) * documents


def uneven(documents: int, each: int) -> tuple[int, ...]:
    """As many items in all, nearly, in documents whose sizes fall off as rank^−0.8."""
    weights = np.arange(1, documents + 1) ** -0.8
    sizes = np.round(weights / weights.sum() * documents * each).astype(int)
    return tuple(int(size) for size in np.maximum(sizes, 1))
