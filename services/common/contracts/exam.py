"""The evaluator's wire of exams: what a judge makes of answers whose order is known."""

from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from services.common.contracts.base import Ask, Id, ShortName, Wire
from services.common.contracts.exam_figures import ExamFigures
from services.common.contracts.judge import JudgeAsk, JudgeBar, JudgeMetric, RubricAsk

ExamReasonCode = Literal[
    "tau_b", "auc", "unparsable", "spread", "length_slope", "injection_gain", "kappa"
]

PLAIN_STEPS: dict[JudgeMetric, list[str]] = {
    "accuracy": [
        "Compare the answer with the reference answer.",
        "Score 5 if it says the same, 1 if it says something else.",
    ],
    "completeness": [
        "Compare the answer with the reference answer.",
        "Score 5 if it says all of it, 3 if it says a part of it, 1 if it says something else.",
    ],
    "faithfulness": [
        "Look for each statement of the answer in the passages.",
        "Score 5 if they say it all, 1 if they do not.",
    ],
    "relevance": [
        "Compare what the answer is about with the question.",
        "Score 5 if it replies to the question, 1 if it is about something else.",
    ],
}
"""Evaluation steps in a few words, for judges too small to write or to follow longer ones."""

Steps = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=4_000, pattern=r"^[^\x00]+$")]],
    Field(min_length=1, max_length=20),
]


class ExamCreate(Ask):
    """Let a judge sit an exam made of a file with purpose ``evals``.

    ``max_items`` questions are drawn by ``seed``; each makes up to eight answers, every one graded
    ``runs`` times by every metric and rubric. The other fields are those of an experiment's judge.
    """

    model: Id
    file_id: Id
    metrics: Annotated[list[JudgeMetric], Field(max_length=4)] = Field(
        default_factory=lambda: list[JudgeMetric](("accuracy", "completeness"))
    )
    rubrics: Annotated[list[RubricAsk], Field(max_length=16)] = Field(default_factory=list)
    steps: dict[JudgeMetric, Steps] = Field(default_factory=dict)
    runs: Annotated[int, Field(ge=1, le=100)] = 10
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    bar: JudgeBar = Field(default_factory=JudgeBar)
    max_items: Annotated[int, Field(ge=2, le=10_000)] = 100
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0

    @model_validator(mode="after")
    def _judge_makes_sense(self) -> "ExamCreate":
        try:
            self.judge  # noqa: B018 - made to be checked
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        return self

    @property
    def judge(self) -> JudgeAsk:
        """The judge as an experiment would declare it."""
        return JudgeAsk(
            model=self.model,
            metrics=self.metrics,
            rubrics=self.rubrics,
            steps=self.steps,
            runs=self.runs,
            temperature=self.temperature,
            seed=self.seed,
            bar=self.bar,
        )


class ExamplesCreate(Ask):
    """Training examples for a judge: answers of known order in the prompt it will be served.

    ``max_items`` questions of the file are drawn by ``seed``. What a judge is injected with here is
    worded otherwise than in any exam. ``steps`` are those it will judge by; null: ``PLAIN_STEPS``.
    """

    file_id: Id
    metric: JudgeMetric = "accuracy"
    steps: Steps | None = None
    max_items: Annotated[int, Field(ge=2, le=100_000)] = 200
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class ExamReason(Wire):
    """Why a judge is not qualified, of one metric."""

    code: ExamReasonCode
    metric: ShortName
    message: str


class ExamProgress(Wire):
    """Answers graded of all there are, each by one metric."""

    done: int
    total: int
    seconds_left: float | None = None


class ExamError(Wire):
    code: str
    message: str


ExamStatus = Literal["queued", "in_progress", "completed", "failed", "canceled"]


class Exam(Wire):
    """``exam_sha256`` is over every answer that was graded, ``judge_sha256`` over the model, its
    adapter, its prompts and how it was sampled. ``same_as`` names the earlier exam whose figures
    these are: the same judge sits the same exam once."""

    id: str
    object: Literal["judge.exam"] = "judge.exam"
    created_at: int
    finished_at: int | None
    model: str
    adapter_sha256: str | None
    status: ExamStatus
    progress: ExamProgress
    spec: ExamCreate
    file_sha256: str
    exam_sha256: str | None
    judge_sha256: str | None
    items: int | None
    documents: int | None
    figures: list[ExamFigures] | None
    qualified: bool | None
    reasons: list[ExamReason] = Field(default_factory=list)
    same_as: str | None = None
    error: ExamError | None = None
