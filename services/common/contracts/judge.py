"""The evaluator's wire of judges: models that score answers, and whether they may be believed."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from services.common.contracts.base import Ask, Id, ShortName, Wire
from services.common.contracts.exam_figures import ExamEstimate, ExamFigures
from services.common.contracts.generator import Condition

JudgeMetric = Literal["accuracy", "completeness", "faithfulness", "relevance"]
Sight = Literal["question", "reference", "passages"]
_Text = Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"^[^\x00]+$")]


class RubricAsk(Ask):
    """A criterion of the caller's own, scored as the others are.

    ``scale`` is its lowest and highest score: whole numbers of one digit, so that each is one
    token. ``sees`` is what the judge is shown beside the answer. ``steps`` are the evaluation
    steps; null lets the judge write them, once.
    """

    name: ShortName
    criterion: _Text
    scale: tuple[Annotated[int, Field(ge=0, le=9)], Annotated[int, Field(ge=0, le=9)]] = (1, 5)
    sees: Annotated[list[Sight], Field(max_length=3)] = Field(
        default_factory=lambda: list[Sight](("question", "reference"))
    )
    steps: Annotated[list[_Text], Field(min_length=1, max_length=20)] | None = None

    @field_validator("scale")
    @classmethod
    def _rises(cls, scale: tuple[int, int]) -> tuple[int, int]:
        if scale[0] >= scale[1]:
            raise ValueError("scale is a lowest and a highest score, the lowest first")
        return scale


class JudgeBar(Ask):
    """What a judge's exam must show before its scores may decide.

    ``tau_b``: Kendall's rank agreement with the known order, at least; ``auc``: area under the ROC
    curve for right against wrong, at least; ``max_unparsable``: share of judgments, at most.
    ``max_spread``: mean standard deviation of an answer's runs, ``max_length_slope``: score for
    twice the words at equal correctness, either way, ``max_injection_gain``: score that "give this
    5" adds to a wrong answer; all three as shares of the scale. ``kappa``: weighted agreement with
    people, at least; null asks for none.
    """

    tau_b: Annotated[float, Field(ge=-1, le=1)] = 0.5
    auc: Annotated[float, Field(ge=0, le=1)] = 0.8
    max_unparsable: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_spread: Annotated[float, Field(ge=0, le=1)] = 0.25
    max_length_slope: Annotated[float, Field(ge=0, le=1)] = 0.0625
    max_injection_gain: Annotated[float, Field(ge=0, le=1)] = 0.125
    kappa: Annotated[float, Field(ge=-1, le=1)] | None = None


class JudgeAsk(Ask):
    """A judge: ``model`` is any name the generator answers to.

    Each metric and rubric of each answer is judged ``runs`` times at ``temperature``. ``steps``
    are evaluation steps by metric; the judge writes those that are not given. ``margin`` counts as
    no difference on a scale from 1 to 5, and in proportion on others. Before it judges it sits an
    exam made of ``exam_items`` of the test's questions. ``stand_in`` is the
    reference metric that decides in place of a judge that does not pass ``bar``; such a one scores
    all the same, for people to see, unless ``score_unqualified`` is false. ``pairwise`` has
    the judge prefer one of two answers as well, each tuned arm's or the baseline's.
    """

    model: Id
    metrics: Annotated[list[JudgeMetric], Field(max_length=4)] = Field(
        default_factory=lambda: list[JudgeMetric](("accuracy", "completeness"))
    )
    rubrics: Annotated[list[RubricAsk], Field(max_length=16)] = Field(default_factory=list)
    steps: dict[JudgeMetric, Annotated[list[_Text], Field(min_length=1, max_length=20)]] = Field(
        default_factory=dict
    )
    runs: Annotated[int, Field(ge=1, le=100)] = 10
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    margin: Annotated[float, Field(gt=0, le=4)] = 0.25
    bar: JudgeBar = Field(default_factory=JudgeBar)
    exam_items: Annotated[int, Field(ge=2, le=10_000)] = 100
    stand_in: ShortName = "token_f1"
    score_unqualified: bool = True
    pairwise: bool = False

    @property
    def names(self) -> list[str]:
        """The metrics it scores, rubrics among them."""
        return [*self.metrics, *(rubric.name for rubric in self.rubrics)]

    @model_validator(mode="after")
    def _names_make_sense(self) -> "JudgeAsk":
        if not self.names:
            raise ValueError("a judge needs metrics or rubrics")
        if len(set(self.names)) != len(self.names):
            raise ValueError("each metric and rubric may be named once")
        if self.temperature == 0 and self.runs > 1:
            raise ValueError("at temperature 0 all runs are alike; ask for 1, or sample them")
        if unasked := [name for name in self.steps if name not in self.metrics]:
            raise ValueError(f"there are steps for {unasked[0]}, which is not among the metrics")
        return self


class Qualification(Wire):
    """Whether a judge may decide, found by its exam: by all metrics but those it ``failed``, and
    ``qualified`` while there are others. ``judge_sha256`` is over the model, its
    adapter, the prompts with their steps, and how it is sampled; ``exam_sha256`` over the answers
    it graded. ``same_as`` names what had the same judge sit the same exam before, whose ``figures``
    these are."""

    judge_sha256: str
    qualified: bool
    failed: list[str] = Field(default_factory=list)
    reasons: list[str] = Field(default_factory=list)
    exam_sha256: str | None = None
    same_as: str | None = None
    figures: list[ExamFigures] = Field(default_factory=list)


class Judgment(Wire):
    """One answer by one criterion: ``runs`` forms asked for, and the ``scores`` read from them.

    ``unparsable`` forms held no score. ``mean`` and ``spread`` (standard deviation over runs) are
    of the scores read, null without any; ``low`` and ``high`` bound the mean by the worst and the
    best the others could have been. ``weighted`` is the mean over the scale weighted by the
    probability of each score's token (Liu et al. 2023), null where the server tells none.
    ``error`` says why nothing was judged.
    """

    runs: int
    scores: list[int]
    unparsable: int
    mean: float | None
    spread: float | None
    low: float
    high: float
    weighted: float | None = None
    error: str | None = None


class Preferred(Wire):
    """An answer beside the baseline's: which of them the judge prefers, null for a tie.

    ``disagreed``: a tie because it was the order that decided. ``error`` says why it has none.
    """

    better: Literal["arm", "baseline"] | None = None
    disagreed: bool = False
    error: str | None = None


class ReportCriterion(Wire):
    """A criterion as it was put to the judge; the hash is over its steps' text."""

    name: str
    criterion: str
    scale: tuple[int, int]
    steps: list[str]
    steps_sha256: str
    generated: bool


class JudgeFigure(Wire):
    """Over the answers of one arm: ``mean`` of ``n`` scored ones, ``spread`` their runs' average
    standard deviation; ``low`` and ``high`` bound the mean over all answers, ``unscored`` and
    unparsable ones at their worst and best. ``unparsable`` is a share of the forms."""

    arm: str
    condition: Condition
    metric: str
    n: int
    unscored: int
    mean: float | None
    spread: float | None
    weighted: float | None
    low: float
    high: float
    unparsable: float


class FieldFigure(Wire):
    """How well a judge's ``metric`` tells, among one arm's answers, those that hold the reference's
    words from those that do not (``reference`` 1 and 0): how often one of the ``right`` scores
    above one of the ``wrong``, ties half."""

    arm: str
    metric: str
    reference: str
    right: int
    wrong: int
    auc: ExamEstimate


class Preference(Wire):
    """How often the judge preferred an arm's answer to the baseline's, asked in both orders.

    ``disagreed`` of the ``ties`` are pairs where the order decided. Each repeat and training seed
    is counted; ``p`` is a sign-flip test's of questions in their documents.
    """

    arm: str
    baseline: str
    condition: Condition
    wins: int
    losses: int
    ties: int
    disagreed: int
    unscored: int
    p: float


class ReportJudge(Wire):
    """The judge of an experiment. ``decides`` is false for one that passed its exam by no
    metric. ``stand_in`` decided in place of those that it failed."""

    model: str
    adapter_sha256: str | None
    prompt_sha256: str
    runs: int
    temperature: float
    qualification: Qualification
    decides: bool
    stand_in: str | None
    criteria: list[ReportCriterion]
    figures: list[JudgeFigure]
    field: list[FieldFigure] = Field(default_factory=list)
    preferences: list[Preference] = Field(default_factory=list)
