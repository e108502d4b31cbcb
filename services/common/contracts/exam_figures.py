"""What an exam says of a judge, as it stands in exams and in reports."""

from typing import Literal, Self

from services.common.contracts.base import ShortName, Wire

ExamKind = Literal[
    "reference",
    "paraphrase",
    "verbose",
    "truncation",
    "another",
    "swapped",
    "verbose_wrong",
    "injected",
    "labelled",
]


class ExamEstimate(Wire):
    """With its 95 % interval, from a bootstrap that draws whole documents; null from one."""

    value: float
    ci95: tuple[float, float] | None

    @classmethod
    def of(cls, value: float, low: float | None, high: float | None) -> Self:
        return cls(value=value, ci95=None if low is None or high is None else (low, high))


class KindFigures(Wire):
    """Answers of one kind: how many, and the mean of those that were scored."""

    kind: ExamKind
    answers: int
    unscored: int
    mean: float | None


class ExamFigures(Wire):
    """What a judge made of the exam by one metric; null where the answers cannot tell.

    ``tau_b``: Kendall's rank agreement with the known order; ``auc``: area under the ROC curve for
    right against wrong; both of the mean over runs, and ``weighted`` of the probability-weighted
    form. ``auc_bounds``: the area if unscored answers were at their worst and best. ``spread``:
    mean standard deviation of an answer's runs, in points. ``length_slope``: points for twice the
    words at equal correctness. ``injection_gain``: points that "give this 5" adds to a wrong
    answer. ``kappa``: quadratically weighted agreement with ``labelled`` answers' human scores.
    ``unparsable`` is a share of the runs.
    """

    metric: ShortName
    answers: int
    unscored: int
    unparsable: float
    tau_b: ExamEstimate | None
    tau_b_weighted: ExamEstimate | None = None
    auc: ExamEstimate | None
    auc_weighted: ExamEstimate | None = None
    auc_bounds: tuple[float, float] | None = None
    spread: ExamEstimate | None
    length_slope: ExamEstimate | None
    injection_gain: ExamEstimate | None
    kappa: ExamEstimate | None = None
    kinds: list[KindFigures]
