"""What a report says of its judge: figures by arm and condition, preferences, warnings."""

from collections.abc import Mapping, Sequence
from itertools import product
from statistics import fmean
from typing import Protocol

from services.common.contracts.evaluator import ExperimentCreate
from services.common.contracts.generator import Condition
from services.common.contracts.judge import (
    JudgeAsk,
    JudgeFigure,
    Judgment,
    Preference,
    Preferred,
    ReportJudge,
)
from services.evaluator.judges.criteria import Criterion, criteria_of
from services.evaluator.judges.field import Told, field_figure, field_warning
from services.evaluator.judges.judgments import figure, unjudged
from services.evaluator.metrics.judged import distrusted_of
from services.evaluator.statistics.clusters import by_cluster
from services.evaluator.statistics.permutation import sign_flip_p

_PERMUTATIONS, _SEED = 100_000, 0


class Judged(Told, Protocol):
    @property
    def arm(self) -> str: ...
    @property
    def condition(self) -> Condition: ...
    @property
    def failed(self) -> bool: ...
    @property
    def preference(self) -> Preferred | None: ...


def judge_figures(
    judge: ReportJudge | None,
    spec: ExperimentCreate,
    answers: Sequence[Judged],
    clusters: Mapping[str, str],
) -> ReportJudge | None:
    """The judge with its figures; answers that never came are no fault of its. ``clusters`` are
    the documents by item."""
    if judge is None or spec.judge is None:
        return None
    if not judge.decides and not spec.judge.score_unqualified:
        return judge
    cells: dict[tuple[str, Condition], list[Judged]] = {}
    for answer in answers:
        if not answer.failed:
            cells.setdefault((answer.arm, answer.condition), []).append(answer)
    return judge.model_copy(
        update={
            "figures": _figures(spec.judge, spec, cells),
            "field": [
                found
                for arm in spec.arms
                if (found := field_figure(arm.name, _all_of(arm.name, cells), clusters))
            ],
            "preferences": _preferences(spec, cells, clusters) if spec.judge.pairwise else [],
        }
    )


Cells = Mapping[tuple[str, Condition], Sequence[Judged]]


def _all_of(arm: str, cells: Cells) -> list[Judged]:
    return [answer for (name, _), some in cells.items() if name == arm for answer in some]


def _figures(ask: JudgeAsk, spec: ExperimentCreate, cells: Cells) -> list[JudgeFigure]:
    found: list[JudgeFigure] = []
    for criterion, arm, condition in product(criteria_of(ask), spec.arms, spec.conditions):
        answers = cells.get((arm.name, condition), ())
        judgments = [j for a in answers if (j := _of(a, criterion, ask)) is not None]
        if judgments:
            found.append(
                figure(judgments, arm=arm.name, condition=condition, metric=criterion.name)
            )
    return found


def _of(answer: Judged, criterion: Criterion, ask: JudgeAsk) -> Judgment | None:
    """None where the criterion says nothing of the answer: faithfulness without passages."""
    if answer.judgments is None:
        return unjudged(ask.runs, criterion, "the judge did not have its turn")
    return answer.judgments.get(criterion.name)


def _preferences(
    spec: ExperimentCreate, cells: Cells, clusters: Mapping[str, str]
) -> list[Preference]:
    found: list[Preference] = []
    for arm, condition in product(spec.arms, spec.conditions):
        told = [
            (answer.item_id, answer.preference)
            for answer in cells.get((arm.name, condition), ())
            if answer.preference is not None
        ]
        if told:
            found.append(preference_of(told, clusters, arm.name, spec.baseline, condition))
    return found


def preference_of(
    by_item: Sequence[tuple[str, Preferred]],
    clusters: Mapping[str, str],
    arm: str,
    baseline: str,
    condition: Condition,
) -> Preference:
    """Wins and losses, of every repeat and training seed; ``clusters`` are the documents by item.

    p is of the questions: what was said of one again and again is one mean, and the signs of a
    document's questions are flipped together. A tie is halfway between a win and a loss.
    """
    told = [preferred for _, preferred in by_item]
    wins = sum(one.better == "arm" for one in told)
    losses = sum(one.better == "baseline" for one in told)
    unscored = sum(one.error is not None for one in told)
    return Preference(
        arm=arm,
        baseline=baseline,
        condition=condition,
        wins=wins,
        losses=losses,
        ties=len(told) - wins - losses - unscored,
        disagreed=sum(one.disagreed for one in told),
        unscored=unscored,
        p=_p(by_item, clusters),
    )


def _p(by_item: Sequence[tuple[str, Preferred]], clusters: Mapping[str, str]) -> float:
    leanings: dict[str, list[int]] = {}
    for item, one in by_item:
        if one.error is None:
            leaning = (one.better == "arm") - (one.better == "baseline")
            leanings.setdefault(item, []).append(leaning)
    if not leanings:
        return 1.0
    data = by_cluster([fmean(one) for one in leanings.values()], [clusters[i] for i in leanings])
    return sign_flip_p(data, permutations=_PERMUTATIONS, seed=_SEED)


def judge_warnings(judge: ReportJudge | None, spec: ExperimentCreate) -> list[str]:
    """What a reader should know of ``judge_figures``'s figures before believing them."""
    if judge is None or spec.judge is None:
        return []
    found: list[str] = []
    failed = distrusted_of(spec, judge)
    if failed:
        why = " ".join(judge.qualification.reasons)
        names = [name for name in spec.judge.names if name in failed]
        by = f" by {', '.join(names)}" if judge.decides else ""
        held = [name for name in spec.metrics if name in failed]
        shown = judge.decides or spec.judge.score_unqualified
        done = "its scores are shown and decide nothing" if shown else "it was not let score"
        instead = f"; {judge.stand_in} decides in place of {', '.join(held)}" if held else ""
        found.append(f"Judge {judge.model} is not qualified{by}: {done}{instead}. {why}".rstrip())
    least = spec.judge.bar.auc
    found += [said for one in judge.field if (said := field_warning(one, least)) is not None]
    return found + [
        f"{one.unscored} of {one.n + one.unscored} answers of {one.arm} under {one.condition} have "
        f"no {one.metric} from the judge; counted at their worst and best, its mean is between "
        f"{one.low:.2f} and {one.high:.2f}."
        for one in judge.figures
        if one.unscored
    ]
