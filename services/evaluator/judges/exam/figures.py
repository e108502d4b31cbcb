"""What an exam says of a judge, in figures by metric. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from services.common.contracts.exam_figures import ExamEstimate, ExamFigures, ExamKind, KindFigures
from services.common.contracts.judge import Judgment
from services.evaluator.judges.exam.building import LEVELS, ExamAnswer
from services.evaluator.statistics.agreement import (
    Estimate,
    length_bias,
    rank_agreement,
    roc_auc,
    weighted_kappa,
)
from services.evaluator.statistics.paired import Resampling, mean_interval

RESAMPLES = 2_000
SEED = 0

UNPLACED: Mapping[str, frozenset[str]] = {
    "accuracy": frozenset({"truncation"}),
    "faithfulness": frozenset({"truncation", "verbose"}),
    "relevance": frozenset({"truncation", "swapped", "verbose", "verbose_wrong"}),
}
"""Kinds without a known place by a metric: an answer cut short may be true in all that it says, one
with a wrong number is as much to the point as the right one, and remarks are in no passage and
beside the point. Another question's answer is to the point where it is not plainly ``astray``."""

_RIGHT = max(LEVELS.values())
_HOW = Resampling(resamples=RESAMPLES, permutations=1_000, seed=SEED)

Graded = tuple[ExamAnswer, Judgment]


def placed(answer: ExamAnswer, metric: str) -> bool:
    """Whether the known order says where ``metric`` should put it."""
    if answer.level is None or answer.kind in UNPLACED.get(metric, ()):
        return False
    return metric != "relevance" or answer.level == _RIGHT or answer.astray


def figures_of(
    metric: str,
    answers: Sequence[ExamAnswer],
    judgments: Mapping[str, Judgment],
    *,
    scale: tuple[int, int],
) -> ExamFigures:
    """``judgments`` by the id of an answer. One without a score is unscored: counted, left out."""
    graded = [(answer, judgments[answer.id]) for answer in answers]
    known = [one for one in graded if placed(one[0], metric)]
    runs = sum(judgment.runs for _, judgment in graded)
    return ExamFigures(
        metric=metric,
        answers=len(graded),
        unscored=sum(judgment.mean is None for _, judgment in graded),
        unparsable=sum(judgment.unparsable for _, judgment in graded) / runs if runs else 0.0,
        tau_b=_tau_b(known, _mean),
        tau_b_weighted=_tau_b(known, _weighted),
        auc=_auc(known, _mean),
        auc_weighted=_auc(known, _weighted),
        auc_bounds=_auc_bounds(known, scale),
        spread=_spread(graded),
        length_slope=_length_slope(known),
        injection_gain=_injection_gain(graded),
        kappa=_kappa(graded, scale),
        kinds=_kinds(graded),
    )


def _mean(judgment: Judgment) -> float | None:
    return judgment.mean


def _weighted(judgment: Judgment) -> float | None:
    return judgment.weighted


Reading = Callable[[Judgment], float | None]


def _scored(graded: Sequence[Graded], read: Reading) -> list[tuple[ExamAnswer, float]]:
    return [(answer, score) for answer, one in graded if (score := read(one)) is not None]


def _tau_b(known: Sequence[Graded], read: Reading) -> ExamEstimate | None:
    scored = _scored(known, read)
    levels = [float(_level(answer)) for answer, _ in scored]
    if len(set(levels)) < 2:
        return None
    return _wire(
        rank_agreement(
            levels,
            [score for _, score in scored],
            [answer.cluster for answer, _ in scored],
            resamples=RESAMPLES,
            seed=SEED,
        )
    )


def _auc(known: Sequence[Graded], read: Reading) -> ExamEstimate | None:
    scored = [one for one in _scored(known, read) if _is_decided(one[0])]
    right = [_level(answer) == _RIGHT for answer, _ in scored]
    if len(set(right)) < 2:
        return None
    return _wire(
        roc_auc(
            right,
            [score for _, score in scored],
            [answer.cluster for answer, _ in scored],
            resamples=RESAMPLES,
            seed=SEED,
        )
    )


def _auc_bounds(known: Sequence[Graded], scale: tuple[int, int]) -> tuple[float, float] | None:
    """The area with what is unscored at its worst and at its best; None where all is scored."""
    decided = [(answer, one) for answer, one in known if _is_decided(answer)]
    right = [_level(answer) == _RIGHT for answer, _ in decided]
    if all(one.mean is not None for _, one in decided) or len(set(right)) < 2:
        return None
    bounds = []
    for for_right, for_wrong in (scale, scale[::-1]):
        scores = [
            (for_right if is_right else for_wrong) if one.mean is None else one.mean
            for is_right, (_, one) in zip(right, decided, strict=True)
        ]
        clusters = [answer.cluster for answer, _ in decided]
        bounds.append(roc_auc(right, scores, clusters, resamples=2, seed=SEED).value)
    return bounds[0], bounds[1]


def _spread(graded: Sequence[Graded]) -> ExamEstimate | None:
    known = [(answer, one.spread) for answer, one in graded if one.spread is not None]
    return _mean_estimate([(answer.cluster, spread) for answer, spread in known])


def _length_slope(known: Sequence[Graded]) -> ExamEstimate | None:
    """Injected answers are longer for their injection, which has a figure of its own."""
    scored = [one for one in _scored(known, _mean) if one[0].kind != "injected"]
    if not scored:
        return None
    found = length_bias(
        [float(_level(answer)) for answer, _ in scored],
        [math.log2(max(1, len(answer.answer.split()))) for answer, _ in scored],
        [score for _, score in scored],
        [answer.cluster for answer, _ in scored],
        resamples=RESAMPLES,
        seed=SEED,
    )
    return None if found is None else _wire(found)


def _injection_gain(graded: Sequence[Graded]) -> ExamEstimate | None:
    """Of an injected answer over the same wrong answer without the injection."""
    plain = {answer.item_id: one.mean for answer, one in graded if answer.kind == "another"}
    gains = [
        (answer.cluster, one.mean - before)
        for answer, one in graded
        if answer.kind == "injected"
        and one.mean is not None
        and (before := plain.get(answer.item_id)) is not None
    ]
    return _mean_estimate(gains)


def _kappa(graded: Sequence[Graded], scale: tuple[int, int]) -> ExamEstimate | None:
    both = [
        (answer.human_score, score, answer.cluster)
        for answer, score in _scored(graded, _mean)
        if answer.human_score is not None
    ]
    if not both:
        return None
    people, judge, clusters = zip(*both, strict=True)
    categories = [float(score) for score in range(scale[0], scale[1] + 1)]
    return _wire(
        weighted_kappa(
            people, judge, clusters, categories=categories, resamples=RESAMPLES, seed=SEED
        )
    )


def _kinds(graded: Sequence[Graded]) -> list[KindFigures]:
    found = []
    kinds: tuple[ExamKind, ...] = (*LEVELS, "labelled")
    for kind in kinds:
        of_kind = [one.mean for answer, one in graded if answer.kind == kind]
        scores = [score for score in of_kind if score is not None]
        if of_kind:
            found.append(
                KindFigures(
                    kind=kind,
                    answers=len(of_kind),
                    unscored=len(of_kind) - len(scores),
                    mean=fmean(scores) if scores else None,
                )
            )
    return found


def _mean_estimate(values: Sequence[tuple[str, float]]) -> ExamEstimate | None:
    if not values:
        return None
    clusters = [cluster for cluster, _ in values]
    mean, ci95 = mean_interval([value for _, value in values], clusters, how=_HOW)
    return ExamEstimate(value=mean, ci95=ci95 if len(set(clusters)) > 1 else None)


def _level(answer: ExamAnswer) -> int:
    assert answer.level is not None  # only answers with a place in the order are asked about
    return answer.level


def _is_decided(answer: ExamAnswer) -> bool:
    """Right or wrong, not merely incomplete."""
    return _level(answer) in (0, _RIGHT)


def _wire(found: Estimate) -> ExamEstimate:
    return ExamEstimate.of(found.value, found.low, found.high)
