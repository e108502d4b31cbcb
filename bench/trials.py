"""One world, many experiments: what the verdict says of each, and what tests on rows would."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from bench.worlds import World
from services.evaluator.statistics.clusters import Floats
from services.evaluator.statistics.multiplicity import Corrected, holm
from services.evaluator.statistics.paired import Contrast, Resampling, contrast
from services.evaluator.statistics.seeds import over_seeds
from services.evaluator.verdict import decide

ALPHA = 0.05
FAMILY = 12  # comparisons corrected together


@dataclass(frozen=True)
class Size:
    """How many experiments a world, and how each is resampled."""

    experiments: int
    resamples: int

    def how(self, seed: int) -> Resampling:
        return Resampling(resamples=self.resamples, permutations=self.resamples, seed=seed)


@dataclass(frozen=True)
class Rates:
    """Shares of experiments. ``false`` has a direction that is not the truth's; ``found`` has it.

    ``peer_…`` are of tests on rows, blind to documents: Wilcoxon's signed ranks for false and
    found, Student's interval for coverage.
    """

    false: float
    found: float
    equivalent: float
    covered: float
    peer_false: float
    peer_found: float
    peer_covered: float


def rates(world: World, size: Size, generator: np.random.Generator) -> Rates:
    drawn = _draw(world, size.experiments, generator)
    truth = np.sign(world.effect)
    directions, equivalent, covered = [], 0, 0
    for number, differences in enumerate(drawn):
        evidence = _weigh(differences, world, size.how(number))
        verdict = _verdict(evidence, Corrected(evidence.p, ALPHA), world)
        directions.append({"HELPS": 1, "HURTS": -1}.get(verdict, 0))
        equivalent += verdict == "EQUIVALENT"
        low, high = evidence.interval(1 - ALPHA)
        covered += low <= world.effect <= high
    ours, theirs = np.array(directions), _by_rows(drawn)
    student = stats.t.isf(ALPHA / 2, drawn.shape[1] - 1) * stats.sem(drawn, axis=1)
    return Rates(
        false=float(((ours != 0) & (ours != truth)).mean()),
        found=float(((ours != 0) & (ours == truth)).mean()),
        equivalent=equivalent / size.experiments,
        covered=covered / size.experiments,
        peer_false=float(((theirs != 0) & (theirs != truth)).mean()),
        peer_found=float(((theirs != 0) & (theirs == truth)).mean()),
        peer_covered=float((np.abs(drawn.mean(axis=1) - world.effect) <= student).mean()),
    )


def _draw(world: World, experiments: int, generator: np.random.Generator) -> Floats:
    """Differences, tuned minus base, of shape ``(experiments, items)``."""
    pairs = (world.draw(generator) for _ in range(experiments))
    return np.stack([tuned - base for base, tuned in pairs])


def _weigh(differences: Floats, world: World, how: Resampling) -> Contrast:
    return contrast(differences.tolist(), world.labels, how=how, bound=world.kind.scale.width)


def _verdict(evidence: Contrast, corrected: Corrected, world: World) -> str:
    margin = world.kind.scale.margin
    return decide(evidence, corrected, margin=margin, alpha=ALPHA, higher_is_better=True).verdict


def _by_rows(differences: Floats) -> NDArray[np.intp]:
    """The direction in which Wilcoxon's test finds each row of ``differences`` to go; 0: none."""
    with np.errstate(invalid="ignore"):  # a row of zeros has no p, and tells nothing
        told = stats.wilcoxon(differences, axis=1).pvalue <= ALPHA
    return np.where(told, np.sign(differences.mean(axis=1)), 0).astype(np.intp)


def family_rate(world: World, size: Size, generator: np.random.Generator) -> tuple[float, float]:
    """Share of experiments with any false verdict among ``FAMILY`` comparisons without an effect:
    corrected by Holm, and by Wilcoxon tests on rows as they stand."""
    ours = theirs = 0
    for number in range(size.experiments):
        drawn = _draw(world, FAMILY, generator)
        evidence = [_weigh(differences, world, size.how(number)) for differences in drawn]
        corrected = holm([one.p for one in evidence], alpha=ALPHA)
        verdicts = {_verdict(one, its, world) for one, its in zip(evidence, corrected, strict=True)}
        ours += bool(verdicts & {"HELPS", "HURTS"})
        theirs += bool(_by_rows(drawn).any())
    return ours / size.experiments, theirs / size.experiments


@dataclass(frozen=True)
class SeedRates:
    """``false`` and ``covered`` of the recipe over its seeds; ``one_…`` of its first seed alone."""

    false: float
    covered: float
    one_false: float
    one_covered: float


def seed_rates(
    world: World, seeds: int, luck: float, size: Size, generator: np.random.Generator
) -> SeedRates:
    """Trainings of a recipe without an effect, whose own means deviate by ``luck`` score points.

    Scores are ``AVERAGED``: differences of standard deviation 0.6, ``icc`` of it the documents'.
    """
    documents, items = 0.6 * np.sqrt(world.icc), 0.6 * np.sqrt(1 - world.icc)
    seen: list[list[bool]] = []
    for number in range(size.experiments):
        shared = generator.normal(0, documents, len(world.sizes)).repeat(world.sizes)
        own = generator.normal(0, luck, (seeds, 1))
        trained = shared + own + generator.normal(0, items, (seeds, len(world.labels)))
        recipe = over_seeds(
            trained.tolist(), world.labels, how=size.how(number), bound=world.kind.scale.width
        )
        row: list[bool] = []
        for evidence in (recipe, _weigh(trained[0], world, size.how(number))):
            low, high = evidence.interval(1 - ALPHA)
            verdict = _verdict(evidence, Corrected(evidence.p, ALPHA), world)
            row += [verdict in ("HELPS", "HURTS"), low <= 0 <= high]
        seen.append(row)
    return SeedRates(*(float(share) for share in np.mean(seen, axis=0)))
