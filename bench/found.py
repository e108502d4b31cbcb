"""What the simulations of ``bench.validity`` found: figures with their goals, rows, and a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

from bench.harness import Figure
from bench.trials import ALPHA, FAMILY, Rates, SeedRates
from bench.worlds import AVERAGED, World


@dataclass(frozen=True)
class Cell:
    design: str
    world: World
    rates: Rates

    def row(self) -> dict[str, Any]:
        world = self.world
        return {
            "scores": world.kind.name,
            "design": self.design,
            "documents": len(world.sizes),
            "items": sum(world.sizes),
            "icc": world.icc,
            "effect": round(world.effect, 4),
        } | asdict(self.rates)


@dataclass(frozen=True)
class Results:
    """``families`` are by icc, ours and the peer's; ``trainings`` by number of seeds and luck."""

    experiments: int
    family_experiments: int
    cells: Sequence[Cell]
    promised: Sequence[Cell]
    families: Mapping[float, tuple[float, float]]
    trainings: Mapping[tuple[int, float], SeedRates]
    cpu_seconds: float

    def rows(self) -> dict[str, Any]:
        return {
            "experiments": self.experiments,
            "cells": [cell.row() for cell in self.cells],
            "smallest_effects": [cell.row() for cell in self.promised],
            "families": [
                {"icc": icc, "comparisons": FAMILY, "any_false": ours, "peer_any_false": theirs}
                for icc, (ours, theirs) in self.families.items()
            ],
            "seeds": [
                {"seeds": seeds, "luck": luck} | asdict(one)
                for (seeds, luck), one in self.trainings.items()
            ],
        }

    def figures(self) -> list[Figure]:
        null = [cell.rates for cell in self.cells if not cell.world.effect]
        at_margin = [
            cell.rates.equivalent
            for cell in self.cells
            if round(abs(cell.world.effect), 9) == cell.world.kind.scale.margin
        ]
        covered = [cell.rates.covered for cell in self.cells]
        shares, limit = "of experiments", _beyond(self.experiments)
        return [
            Figure("false verdicts, all", shares, _mean([r.false for r in null]), ALPHA, "<=1"),
            Figure("false verdicts, worst", shares, max(r.false for r in null), limit, "<=1"),
            Figure(
                "the same of Wilcoxon on rows", shares, max(r.peer_false for r in null), limit, None
            ),
            Figure("EQUIVALENT at the margin, worst", shares, max(at_margin), limit, "<=1"),
            Figure("truths covered, fewest", shares, min(covered), 0.93, ">=1"),
            Figure("truths covered, most", shares, max(covered), 0.97, "<=1"),
            Figure(
                "smallest effects found, fewest",
                shares,
                min(cell.rates.found for cell in self.promised),
                0.8,
                ">=0.95",
            ),
            Figure(
                f"any false verdict among {FAMILY}, worst",
                shares,
                max(ours for ours, _ in self.families.values()),
                _beyond(self.family_experiments),
                "<=1",
            ),
            Figure(
                "false verdicts over seeds, worst",
                shares,
                max(one.false for one in self.trainings.values()),
                limit,
                "<=1",
            ),
            Figure("10,000 items × 10,000 resamples", "CPU s", self.cpu_seconds, 2.0, "<=1"),
        ]

    def _strays(self) -> str:
        """How many cells' intervals cover fewer or more truths than 93 to 97 %."""
        outside = [c for c in self.cells if not 0.93 <= c.rates.covered <= 0.97]
        error = 3 * sqrt(0.95 * 0.05 / self.experiments)
        said = f"{len(outside)} of {len(self.cells)} cells lie outside 93 to 97 %"
        named = "; ".join(
            f"{c.design}, {c.world.kind.name}, icc {c.world.icc:g}: {_percent(c.rates.covered)}"
            for c in outside
        )
        return (
            f"{said}{f' ({named})' if named else ''}. Three standard errors of a cell are "
            f"{100 * error:.1f} points. Where sizes are uneven, intervals err on the wide side."
        )

    def page(self, command: str) -> str:
        """A page of tables for people."""
        null = [cell for cell in self.cells if not cell.world.effect]
        some = [cell for cell in self.cells if cell.world.effect]
        iccs = sorted({cell.world.icc for cell in null})
        designs = list(dict.fromkeys(cell.design for cell in self.cells))
        kinds = list(dict.fromkeys(cell.world.kind for cell in self.cells))

        def false(design: str, icc: float) -> str:
            here = [c for c in null if (c.design, c.world.icc) == (design, icc)]
            averaged = next((c.rates for c in here if c.world.kind is AVERAGED), None)
            if averaged is None:
                return ""
            return f"{_percent(max(c.rates.false for c in here))} ({_percent(averaged.peer_false)})"

        def covered(design: str, at: Callable[[Rates], float]) -> str:
            here = [at(c.rates) for c in self.cells if c.design == design]
            return f"{_percent(min(here))} to {_percent(max(here))}"

        def found(design: str, name: str, times: int) -> str:
            here = [
                c.rates.found
                for c in some
                if (c.design, c.world.kind.name) == (design, name)
                and round(abs(c.world.effect) / c.world.kind.scale.margin) == times
            ]
            return " to ".join(dict.fromkeys((_percent(max(here)), _percent(min(here)))))

        return "\n".join(
            [
                "# May a verdict be believed?",
                f"`{command}` made these figures and [validity.json](validity.json): "
                f"{self.experiments:,} simulated experiments a cell, judged as real ones are. "
                "*Documents × items each*; *icc* is what items of one document share of a "
                "difference's variance.",
                "",
                "## False verdicts where nothing differs",
                "The most of four kinds of score (mean of ten runs and whole numbers from 1 to 5, "
                "yes or no with 50 and 90 % yes); in brackets a Wilcoxon test on rows of the mean "
                "of ten runs. Declared are 5 %.",
                "",
                *_table(
                    ["design", *(f"icc {icc:g}" for icc in iccs)],
                    [[design, *(false(design, icc) for icc in iccs)] for design in designs],
                ),
                "",
                "## Truths in the 95 % interval",
                "Fewest and most over all scores, icc and effects; beside it Student's interval on "
                "rows.",
                "",
                *_table(
                    ["design", "cluster bootstrap", "rows"],
                    [
                        [
                            design,
                            covered(design, lambda r: r.covered),
                            covered(design, lambda r: r.peer_covered),
                        ]
                        for design in designs
                    ],
                ),
                "",
                self._strays(),
                "",
                "## Effects found",
                "HELPS or HURTS, rightly, where the truth is the margin and twice the margin, from "
                "icc 0 to 0.3. An effect no larger than the margin may rightly be EQUIVALENT too.",
                "",
                *_table(
                    ["design", *(kind.name for kind in kinds)],
                    [
                        [
                            design,
                            *(
                                f"{found(design, kind.name, 1)}; {found(design, kind.name, 2)}"
                                for kind in kinds
                            ),
                        ]
                        for design in designs
                    ],
                ),
                "",
                "The smallest effect that an estimate promises to tell from 0 at 80 % was told in "
                f"{_percent(min(c.rates.found for c in self.promised))} to "
                f"{_percent(max(c.rates.found for c in self.promised))} of experiments.",
                "",
                f"## {FAMILY} comparisons without an effect",
                "Experiments with any false verdict, Holm's correction and the permutation's p; in "
                "brackets uncorrected Wilcoxon tests.",
                "",
                *_table(
                    [f"icc {icc:g}" for icc in self.families],
                    [
                        [
                            f"{_percent(ours)} ({_percent(theirs)})"
                            for ours, theirs in self.families.values()
                        ]
                    ],
                ),
                "",
                "## Recipes trained with several seeds",
                "No effect; each training's mean deviates by *luck*, in score points. False "
                "verdicts and truths covered, of the recipe over its seeds and of one training "
                "alone.",
                "",
                *_table(
                    ["seeds", "luck", "false", "covered", "one: false", "one: covered"],
                    [
                        [
                            str(seeds),
                            f"{luck:g}",
                            *map(_percent, (r.false, r.covered, r.one_false, r.one_covered)),
                        ]
                        for (seeds, luck), r in self.trainings.items()
                    ],
                ),
                "",
            ]
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _beyond(experiments: int) -> float:
    """5 % and what chance adds: three standard errors of that many experiments."""
    return ALPHA + 3 * sqrt(ALPHA * (1 - ALPHA) / experiments)
