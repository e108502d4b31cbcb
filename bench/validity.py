"""May a verdict be believed? Simulated experiments whose truth is known, judged as real ones are.

Measured are false verdicts, effects found and truths covered, over kinds of score, numbers and
sizes of documents, correlation within them, and effects; beside tests on rows, blind to documents,
in the same experiments. Writes ``docs/results/validity.json`` and ``validity.md``.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from bench.found import Cell, Results
from bench.harness import conclude, parser
from bench.trials import Size, family_rate, rates, seed_rates
from bench.worlds import AVERAGED, EASY, KINDS, World, even, uneven
from services.evaluator.statistics.paired import Resampling, contrast
from services.evaluator.statistics.power import smallest_effect

FOLDER = Path(__file__).parents[1] / "docs" / "results"
ICCS = (0.0, 0.05, 0.1, 0.3)
DESIGNS = {
    "10 × 10": even(10, 10),
    "30 × 10": even(30, 10),
    "30 × about 10, uneven": uneven(30, 10),
    "100 × 3": even(100, 3),
}
ALONE = ("300 × 1", even(300, 1))
LUCKS = (0.0, 0.1, 0.3)  # score points
POWER = 0.8


def grid() -> Iterator[tuple[str, World]]:
    """Without an effect, with one as large as the margin, and with one of twice that.

    Answers that are nearly all right can only get worse.
    """
    for kind in KINDS:
        for times in (0, 1, 2):
            effect = times * kind.scale.margin * (-1 if kind is EASY else 1)
            for design, sizes in DESIGNS.items():
                for icc in ICCS if not effect else (0.0, 0.3):
                    yield design, World(kind, sizes, icc, effect)
            yield ALONE[0], World(kind, ALONE[1], 0.0, effect)


def promised() -> Iterator[tuple[str, World]]:
    """Effects of the smallest size that a run is said to tell from 0, whatever the margin."""
    kind = replace(AVERAGED, scale=replace(AVERAGED.scale, margin=1e-9))
    for design, sizes in DESIGNS.items():
        for icc in (0.0, 0.3):
            effect = smallest_effect(sizes, deviation=0.6, icc=icc, power=POWER)
            assert effect is not None, "all designs have documents enough"
            yield design, World(kind, sizes, icc, effect)


def speed() -> float:
    """CPU seconds for 10,000 items × 10,000 resamples and as many permutations."""
    differences = np.random.default_rng(0).normal(0.1, 1, 10_000).tolist()
    labels = [str(number) for number in range(10_000)]
    started = time.process_time()
    found = contrast(differences, labels, how=Resampling(10_000, 10_000, seed=0), bound=10)
    found.interval(0.95)
    return time.process_time() - started


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--experiments", type=int, default=1_000, help="of each cell")
    arguments.add_argument("--resamples", type=int, default=1_000, help="and permutations, of each")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--folder", type=Path, default=FOLDER)
    asked = arguments.parse_args()
    size = Size(asked.experiments, asked.resamples)
    cells, promises = list(grid()), list(promised())
    steps = len(cells) + len(promises) + len(ICCS) + 2 * len(LUCKS)
    streams = iter(np.random.SeedSequence(asked.seed).spawn(steps))
    columns = ("simulating", BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        ticks = progress.add_task("", total=steps)

        def generator() -> np.random.Generator:
            progress.advance(ticks)
            return np.random.default_rng(next(streams))

        found = [Cell(design, world, rates(world, size, generator())) for design, world in cells]
        kept = [Cell(design, world, rates(world, size, generator())) for design, world in promises]
        fewer = Size(max(1, size.experiments // 4), size.resamples)
        families = {
            icc: family_rate(World(AVERAGED, even(30, 10), icc, 0.0), fewer, generator())
            for icc in ICCS
        }
        trainings = {
            (seeds, luck): seed_rates(
                World(AVERAGED, even(30, 10), 0.1, 0.0), seeds, luck, size, generator()
            )
            for seeds in (3, 5)
            for luck in LUCKS
        }
    results = Results(
        size.experiments, fewer.experiments, found, kept, families, trainings, speed()
    )
    details: dict[str, Any] = {
        "command": f"python -m bench.validity --experiments {size.experiments} "
        f"--resamples {size.resamples} --seed {asked.seed}",
        **results.rows(),
    }
    path = conclude(
        "validity",
        results.figures(),
        packages=["numpy", "scipy", "statsmodels"],
        details=details,
        folder=asked.folder,
    )
    path.with_suffix(".md").write_text(results.page(details["command"]))


if __name__ == "__main__":
    main()
