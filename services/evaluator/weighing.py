"""What scores tell of a difference: its evidence, over trainings too, and its bounds."""

from collections.abc import Mapping, Sequence

from services.common.contracts.evaluator import ExperimentCreate, StatisticsAsk
from services.common.contracts.generator import Condition
from services.evaluator.metrics import Metric
from services.evaluator.scores import ScoreTable
from services.evaluator.statistics.missing import Bounds, bounds_of_sums
from services.evaluator.statistics.paired import Contrast, Resampling, contrast
from services.evaluator.statistics.seeds import over_seeds


def resampling(statistics: StatisticsAsk) -> Resampling:
    return Resampling(
        resamples=statistics.resamples,
        permutations=statistics.permutations,
        seed=statistics.seed,
    )


def by_training(
    table: ScoreTable,
    arm: str,
    condition: Condition,
    metric: Metric,
    base: Mapping[str, float],
) -> list[dict[str, float]]:
    """Differences from ``base`` of each training of an arm that has several."""
    return [
        {item: score - base[item] for item, score in scores.items()}
        for scores in table.each(arm, condition, metric.name, list(base))
    ]


def weigh(
    table: ScoreTable,
    differences: Mapping[str, float],
    trainings: Sequence[Mapping[str, float]],
    spec: ExperimentCreate,
    *,
    bound: float,
) -> Contrast:
    """Evidence from differences by item; several trainings are resampled as the documents are.

    That takes the items that every training has a score for; with none of them the means decide.
    """
    how = resampling(spec.statistics)
    if len(trainings) > 1 and trainings[0]:
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
    asked: Mapping[str, Sequence[float | None]],
    *,
    plus: Sequence[int],
    minus: Sequence[int],
) -> Bounds | None:
    """Of the cells at ``plus`` less those at ``minus``, over all items that were ``asked``."""
    if metric.range is None:
        return None
    return bounds_of_sums(
        [[values[at] for values in asked.values()] for at in minus],
        [[values[at] for values in asked.values()] for at in plus],
        table.labels(list(asked)),
        low=metric.range.low,
        high=metric.range.high,
        how=resampling(spec.statistics),
    )
