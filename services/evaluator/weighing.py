"""What scores tell of a difference: its evidence, over trainings too, and its bounds."""

from collections.abc import Mapping, Sequence

from services.common.contracts.evaluator import ExperimentCreate, StatisticsAsk
from services.evaluator.metrics import Metric
from services.evaluator.scores import Cell, ScoreTable
from services.evaluator.statistics.missing import Bounds, bounds_of_sums
from services.evaluator.statistics.paired import Contrast, Resampling, contrast
from services.evaluator.statistics.seeds import over_seeds


def resampling(statistics: StatisticsAsk) -> Resampling:
    return Resampling(
        resamples=statistics.resamples,
        permutations=statistics.permutations,
        seed=statistics.seed,
    )


def weigh(
    table: ScoreTable,
    differences: Mapping[str, float],
    trainings: Sequence[Mapping[str, float]],
    spec: ExperimentCreate,
    *,
    bound: float,
) -> Contrast:
    """Evidence from differences by item; those of several ``trainings``, all of the same items, are
    resampled as the documents are."""
    how = resampling(spec.statistics)
    if trainings:
        return over_seeds(
            [list(training.values()) for training in trainings],
            table.labels(list(trainings[0])),
            how=how,
            bound=bound,
        )
    return contrast(
        list(differences.values()), table.labels(list(differences)), how=how, bound=bound
    )


def bounds_of(
    table: ScoreTable,
    spec: ExperimentCreate,
    metric: Metric,
    asked: Sequence[str],
    *,
    plus: Sequence[Cell],
    minus: Sequence[Cell],
) -> Bounds | None:
    """Of the cells ``plus`` less those ``minus``, over all items that were ``asked``."""
    if metric.range is None:
        return None
    return bounds_of_sums(
        [table.averages(cell, metric.name, asked) for cell in minus],
        [table.averages(cell, metric.name, asked) for cell in plus],
        table.labels(asked),
        low=metric.range.low,
        high=metric.range.high,
        how=resampling(spec.statistics),
    )
