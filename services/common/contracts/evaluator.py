"""The evaluator's wire: experiments and their report. Later tools read these names; they stay."""

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, model_validator

from services.common.contracts.arms import ArmAsk as ArmAsk
from services.common.contracts.arms import ForgettingAsk
from services.common.contracts.base import Ask, Id, Metadata, Name, ShortName, Wire
from services.common.contracts.budget import BudgetAsk, PriceAsk, Spent
from services.common.contracts.findings import (
    Attribution,
    ForgottenExample,
    Losses,
    Remedy,
    SizeCurve,
)
from services.common.contracts.generator import AdapterProof, Citation, Condition
from services.common.contracts.judge import JudgeAsk, Judgment, Preferred, ReportJudge
from services.common.contracts.leakage import ReportTraining
from services.common.contracts.specification import DatasetAsk as DatasetAsk
from services.common.contracts.specification import RetrievalAsk as RetrievalAsk
from services.common.contracts.specification import SamplingAsk as SamplingAsk
from services.common.contracts.specification import StatisticsAsk as StatisticsAsk
from services.common.contracts.statistics import SeedFigures

Verdict = Literal["HELPS", "HURTS", "EQUIVALENT", "INCONCLUSIVE"]


class ExperimentCreate(Ask):
    """``metrics`` is the family Holm's correction spans, under ``primary_conditions`` (null: all);
    the others are always computed too. A ``judge``'s metrics may be among them: they decide once
    the judge has passed its exam. ``prices`` are by arm; the judge's is named ``judge``.
    """

    version: Literal[1] = 1
    name: Name
    dataset: DatasetAsk
    vector_store_id: Id
    arms: Annotated[list[ArmAsk], Field(min_length=2, max_length=32)]
    baseline: ShortName = "base"
    conditions: Annotated[list[Condition], Field(min_length=1, max_length=4)] = Field(
        default_factory=lambda: list[Condition](("closed_book", "retrieved", "oracle"))
    )
    metrics: Annotated[list[ShortName], Field(min_length=1, max_length=16)] = Field(
        default_factory=lambda: ["contains_answer", "token_f1"]
    )
    primary_conditions: Annotated[list[Condition], Field(min_length=1, max_length=4)] | None = None
    sampling: SamplingAsk = Field(default_factory=SamplingAsk)
    retrieval: RetrievalAsk = Field(default_factory=RetrievalAsk)
    statistics: StatisticsAsk = Field(default_factory=StatisticsAsk)
    judge: JudgeAsk | None = None
    forgetting: ForgettingAsk | None = None
    budget: BudgetAsk = Field(default_factory=BudgetAsk)
    prices: Annotated[dict[ShortName, PriceAsk], Field(max_length=64)] = Field(default_factory=dict)
    metadata: Metadata = Field(default_factory=dict)

    @property
    def sha256(self) -> str:
        """SHA-256 (hex) over the canonical JSON of what decides the result: not of the name, the
        metadata, the prices and the budget, which may be raised."""
        told = self.model_dump(mode="json", exclude={"name", "metadata", "prices", "budget"})
        canonical = json.dumps(told, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def decides(self, condition: Condition, metric: str) -> bool:
        """Whether a comparison is of the declared family."""
        return metric in self.metrics and (
            self.primary_conditions is None or condition in self.primary_conditions
        )

    @model_validator(mode="after")
    def _arms_make_sense(self) -> "ExperimentCreate":
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("arm names must differ")
        if self.baseline not in names:
            raise ValueError(
                f"baseline '{self.baseline}' is not one of the arms: {', '.join(names)}"
            )
        base = next(arm for arm in self.arms if arm.name == self.baseline)
        if base.tune is not None and len(base.tune.seeds) > 1:
            raise ValueError("the baseline is one model: give it one training seed")
        if len(set(self.conditions)) != len(self.conditions):
            raise ValueError("each condition may be named once")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("each metric may be named once")
        primary = self.primary_conditions or []
        if unasked := [name for name in primary if name not in self.conditions]:
            raise ValueError(f"primary_conditions names '{unasked[0]}', which is not asked under")
        if strangers := [name for name in self.prices if name not in (*names, "judge")]:
            raise ValueError(f"prices names '{strangers[0]}'; it can name arms and 'judge'")
        return self


ExperimentStatus = Literal["queued", "in_progress", "completed", "failed", "canceled"]


class ExperimentProgress(Wire):
    phase: Literal[
        "queued",
        "tuning",
        "proving",
        "retrieving",
        "answering",
        "forgetting",
        "examining",
        "judging",
        "measuring",
        "done",
    ]
    done: int
    total: int
    seconds_left: float | None = None


class ExperimentError(Wire):
    code: str
    message: str


class Experiment(Wire):
    """``verdict`` says in one sentence what was found, once ``status`` is ``completed``."""

    id: str
    object: Literal["experiment"] = "experiment"
    created_at: int
    finished_at: int | None
    name: str
    status: ExperimentStatus
    progress: ExperimentProgress
    spec: ExperimentCreate
    verdict: str | None
    error: ExperimentError | None
    spec_sha256: str | None = None
    spent: Spent = Field(default_factory=Spent)
    report_url: str | None


class ReportDataset(Wire):
    name: str
    items: int
    clusters: int
    sha256: str


class ReportArm(Wire):
    """``adapter``, ``recipe`` and ``sha256`` are null for a base model; ``base_revision`` names the
    weights of the base model, beneath an adapter too, and is null for a model of another host.

    ``alias`` is what the experiment named where it stood for ``model``; ``training_seed`` and
    ``job_id`` say how an adapter was made that the experiment itself has made."""

    name: str
    model: str
    adapter: str | None
    recipe: str | None
    sha256: str | None
    base_revision: str | None = None
    alias: str | None = None
    training_seed: int | None = None
    job_id: str | None = None


class Mean(Wire):
    """``spread`` is the standard deviation between repeats of one item, where it had several."""

    arm: str
    condition: Condition
    metric: str
    mean: float
    ci95: tuple[float, float]
    spread: float | None = None


class Comparison(Wire):
    """``diff`` is tuned minus base, averaged over items; ``p`` a sign-flip permutation's with whole
    clusters flipped; ``p_holm`` corrected over the declared family (null outside it). The ``n``
    items are those that both arms, and each of several trainings, have a score of. ``unscored``
    answers, each repeat and training by itself, are left out of these; ``bounds`` is where ``diff``
    would lie over all items whatever they were given.
    ``margin`` counted as no difference, on the metric's scale.
    """

    arm: str
    baseline: str
    condition: Condition
    metric: str
    base: float
    tuned: float
    diff: float
    ci95: tuple[float, float]
    p: float
    p_holm: float | None
    n: int
    clusters: int
    verdict: Verdict
    primary: bool
    note: str | None = None
    n_needed: int | None = None
    unscored: int = 0
    bounds: tuple[float, float] | None = None
    margin: float | None = None
    seeds: SeedFigures | None = None


class DiffInDiff(Wire):
    """(tuned_retrieved − tuned_closed) − (base_retrieved − base_closed): what tuning does to the
    value of retrieval. Over ``n`` items with a score in all four (null in reports from before that
    was told); ``n_needed``, ``unscored``, ``bounds`` and ``margin`` are those of a comparison."""

    arm: str
    metric: str
    estimate: float
    ci95: tuple[float, float]
    p: float
    p_holm: float | None
    verdict: Verdict
    note: str | None = None
    n: int | None = None
    clusters: int | None = None
    n_needed: int | None = None
    unscored: int = 0
    bounds: tuple[float, float] | None = None
    margin: float | None = None


class Forgotten(Wire):
    """What tuning did to general questions: ``comparisons`` are a family of their own,
    ``examples`` questions of which the baseline's answer was better."""

    panel: str
    items: int
    comparisons: list[Comparison]
    examples: list[ForgottenExample]


class ReportCounts(Wire):
    items: int
    answers: int
    unscored: int


class RetrievalQuality(Wire):
    """Over items that name their evidence: share with any gold passage among the k, share of gold
    found, mean reciprocal rank of the first there; ``ndcg`` looks at the first 10 found."""

    k: int
    items: int
    hit: float
    recall: float
    mrr: float
    ndcg: float | None = None


class ReportEnvironment(Wire):
    cpu: str
    cores: int
    memory_bytes: int
    gpu: str | None
    versions: dict[str, str]


class Report(Wire):
    """``timings`` are seconds per phase; ``rows`` is where the per-answer JSONL is."""

    experiment_id: str
    name: str
    created_at: int
    headline: str
    dataset: ReportDataset
    arms: list[ReportArm]
    conditions: list[Condition]
    metrics: list[str]
    primary_metrics: list[str]
    means: list[Mean]
    comparisons: list[Comparison]
    diff_in_diff: list[DiffInDiff]
    retrieval: RetrievalQuality | None
    adapter_proofs: list[AdapterProof]
    counts: ReportCounts
    timings: dict[str, float]
    environment: ReportEnvironment
    spec: ExperimentCreate
    prompt_template_sha256: str
    warnings: list[str] = Field(default_factory=list)
    training: list[ReportTraining] = Field(default_factory=list)
    judge: ReportJudge | None = None
    spec_sha256: str | None = None
    forgetting: Forgotten | None = None
    losses: list[Losses] = Field(default_factory=list)
    remedies: list[Remedy] = Field(default_factory=list)
    sizes: list[SizeCurve] = Field(default_factory=list)
    rows: str


class AnswerRow(Wire):
    """One answer with its scores; ``null`` marks an unscored metric. One line of the rows file.
    ``judgments`` are what a judge's scores were made from, by metric."""

    experiment_id: str
    item_id: str
    cluster: str
    arm: str
    model: str
    adapter_sha256: str | None
    condition: Condition
    question: str
    reference: str
    answer: str | None
    finish_reason: str | None
    passage_ids: list[str]
    citations: list[Citation] = Field(default_factory=list)
    prompt_sha256: str | None
    completion_tokens: int | None
    scores: dict[str, float | None]
    training_seed: int | None = None
    repeat: int = 0
    judgments: dict[str, Judgment] = Field(default_factory=dict)
    attribution: Attribution | None = None
    preference: Preferred | None = None
    error: str | None
