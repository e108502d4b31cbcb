"""The evaluator's wire: experiments and their report. Later tools read these names; they stay."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from services.common.contracts.base import Ask, Id, Metadata, Name, Wire
from services.common.contracts.generator import AdapterProof, Condition

Verdict = Literal["HELPS", "HURTS", "EQUIVALENT", "INCONCLUSIVE"]
ShortName = Annotated[
    str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
]


class DatasetAsk(Ask):
    """Test items: a file of ``{id, question, answer, evidence_ids?, aliases?, doc_id?}`` lines."""

    name: Name
    file_id: Id


class ArmAsk(Ask):
    """A model under test: the base's name or an adapter's."""

    name: ShortName
    model: Id


class SamplingAsk(Ask):
    max_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class RetrievalAsk(Ask):
    """``within_document`` searches only the item's own ``doc_id``: questions about one paper."""

    max_num_results: Annotated[int, Field(ge=1, le=50)] = 3
    within_document: bool = False


class StatisticsAsk(Ask):
    """``margin`` is what counts as no difference, on the metric's scale (two one-sided tests)."""

    resamples: Annotated[int, Field(ge=1_000, le=200_000)] = 10_000
    permutations: Annotated[int, Field(ge=1_000, le=200_000)] = 10_000
    alpha: Annotated[float, Field(gt=0, le=0.2)] = 0.05
    margin: Annotated[float, Field(gt=0, le=1)] = 0.05
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0


class ExperimentCreate(Ask):
    """``metrics`` is the family Holm's correction spans; the others are always computed too."""

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
    sampling: SamplingAsk = Field(default_factory=SamplingAsk)
    retrieval: RetrievalAsk = Field(default_factory=RetrievalAsk)
    statistics: StatisticsAsk = Field(default_factory=StatisticsAsk)
    metadata: Metadata = Field(default_factory=dict)

    @model_validator(mode="after")
    def _arms_make_sense(self) -> "ExperimentCreate":
        names = [arm.name for arm in self.arms]
        if len(set(names)) != len(names):
            raise ValueError("arm names must differ")
        if self.baseline not in names:
            raise ValueError(
                f"baseline '{self.baseline}' is not one of the arms: {', '.join(names)}"
            )
        if len(set(self.conditions)) != len(self.conditions):
            raise ValueError("each condition may be named once")
        if len(set(self.metrics)) != len(self.metrics):
            raise ValueError("each metric may be named once")
        return self


ExperimentStatus = Literal["queued", "in_progress", "completed", "failed", "canceled"]


class ExperimentProgress(Wire):
    phase: Literal["queued", "proving", "retrieving", "answering", "measuring", "done"]
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
    report_url: str | None


class ReportDataset(Wire):
    name: str
    items: int
    clusters: int
    sha256: str


class ReportArm(Wire):
    """``adapter``, ``recipe`` and ``sha256`` are null for a base model."""

    name: str
    model: str
    adapter: str | None
    recipe: str | None
    sha256: str | None


class Mean(Wire):
    arm: str
    condition: Condition
    metric: str
    mean: float
    ci95: tuple[float, float]


class Comparison(Wire):
    """``diff`` is tuned minus base, averaged over items; ``p`` a sign-flip permutation's with whole
    clusters flipped; ``p_holm`` corrected over the declared family (null outside it)."""

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


class DiffInDiff(Wire):
    """(tuned_retrieved − tuned_closed) − (base_retrieved − base_closed): what tuning does to the
    value of retrieval."""

    arm: str
    metric: str
    estimate: float
    ci95: tuple[float, float]
    p: float
    p_holm: float | None
    verdict: Verdict


class ReportCounts(Wire):
    items: int
    answers: int
    unscored: int


class RetrievalQuality(Wire):
    """Over items that name their evidence: share with any gold passage among the k, share of gold
    found, mean reciprocal rank of the first."""

    k: int
    items: int
    hit: float
    recall: float
    mrr: float


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
    rows: str


class AnswerRow(Wire):
    """One answer with its scores; ``null`` marks an unscored metric. One line of the rows file."""

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
    prompt_sha256: str | None
    completion_tokens: int | None
    scores: dict[str, float | None]
    error: str | None
