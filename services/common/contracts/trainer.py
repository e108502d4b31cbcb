"""The trainer's wire: files, fine-tuning jobs, and the adapters they end in.

Field names are OpenAI's; how a fine-tuning is asked for stands in ``hyperparameters``.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from services.common.contracts.base import Ask, Id, Metadata, Wire, or_if_null
from services.common.contracts.hyperparameters import Method, OpenAIHyperparameters

Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]


class FileObject(Wire):
    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["uploaded", "processed", "error"]
    expires_at: int | None = None
    status_details: str | None = None
    sha256: str


class WandbIntegration(Ask):
    """OpenAI's fields; the trainer's operator holds the key."""

    project: Annotated[str, Field(min_length=1, max_length=128)]
    name: Annotated[str, Field(max_length=128)] | None = None
    entity: Annotated[str, Field(max_length=128)] | None = None
    tags: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=50)] = Field(
        default_factory=list
    )


class Integration(Ask):
    type: Literal["wandb"]
    wandb: WandbIntegration


class Checks(Ask):
    """What validation looks for beyond the form of each line; every finding is an event.

    ``test_file`` and ``vector_store_id`` are searched for questions and passages that stand in the
    training file too; ``known_facts`` asks the base model every question closed-book (Gekhman et
    al. 2024, arXiv 2405.05904). ``drop`` leaves the examples of those kinds out of the training.
    """

    test_file: Id | None = None
    vector_store_id: Id | None = None
    known_facts: bool = False
    drop: Annotated[
        list[Literal["duplicates", "overlap", "known", "unknown"]], Field(max_length=4)
    ] = Field(default_factory=list)

    @model_validator(mode="after")
    def _found_before_dropped(self) -> Self:
        if "overlap" in self.drop and self.test_file is None and self.vector_store_id is None:
            raise ValueError("'drop' names 'overlap'; say with what: test_file or vector_store_id")
        if not self.known_facts and {"known", "unknown"} & set(self.drop):
            raise ValueError("'drop' names known or unknown facts; set known_facts to true")
        return self


class FineTuningJobCreate(Ask):
    """OpenAI's body, and two fields of ours. ``priority`` orders the jobs of one caller, larger
    first; callers take turns whatever theirs say."""

    model: Id
    training_file: Id
    validation_file: Id | None = None
    suffix: (
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
        | None
    ) = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Annotated[Metadata, or_if_null({})] = Field(default_factory=dict)
    method: Method | None = None
    hyperparameters: OpenAIHyperparameters | None = None
    integrations: Annotated[list[Integration], Field(max_length=4)] | None = None
    priority: Annotated[int, Field(ge=-10, le=10)] = 0
    checks: Checks = Field(default_factory=Checks)


JobStatus = Literal[
    "validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"
]
"""OpenAI's, and ``paused``, which its type lacks though it has the route."""


class JobError(Wire):
    code: str
    message: str
    param: str | None = None


class Progress(Wire):
    """Optimizer steps done of all, and seconds that remain at the pace so far."""

    step: int = 0
    total_steps: int | None = None
    seconds_left: float | None = None


class FineTuningJob(Wire):
    id: str
    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    created_at: int
    finished_at: int | None
    estimated_finish: int | None
    model: str
    fine_tuned_model: str | None
    organization_id: str = "fineproof"
    status: JobStatus
    training_file: str
    validation_file: str | None
    result_files: list[str]
    trained_tokens: int | None
    hyperparameters: dict[str, Any]
    method: dict[str, Any]
    seed: int
    error: JobError | None
    integrations: list[dict[str, Any]] = Field(default_factory=list)
    metadata: dict[str, str]
    priority: int = 0
    checks: dict[str, Any] = Field(default_factory=dict)
    progress: Progress


class JobEvent(Wire):
    """``type`` is ``metrics`` when ``data`` holds ``step``, ``train_loss``, ``learning_rate``, …"""

    id: str
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] | None = None


class AdapterFile(Wire):
    name: str
    bytes: int
    sha256: str


class AdapterRecord(Wire):
    """An immutable adapter in the registry; ``id`` is its name, ``ft:<base>:<suffix>:<job>``.

    A ``candidate`` was taken before the job's last step; its name ends in ``:ckpt-step-<n>``.

    ``url`` is the fsspec URL of its folder (PEFT's ``adapter_config.json`` and
    ``adapter_model.safetensors``, our ``canary.json``, a model card); ``sha256`` is that of the
    safetensors file.
    """

    id: str
    object: Literal["fine_tuning.adapter"] = "fine_tuning.adapter"
    created_at: int
    base_model: str
    recipe: str
    job_id: str
    step: int
    candidate: bool = False
    sha256: str
    dataset_sha256: str
    rank: int
    target_modules: list[str]
    url: str
    files: list[AdapterFile]
    metrics: dict[str, float]


class UrlDestination(Ask):
    """A folder by its fsspec URL, under one that the trainer's operator allows."""

    type: Literal["url"]
    url: Annotated[str, Field(min_length=1, max_length=1000)]


class HuggingFaceDestination(Ask):
    """A repository, made if need be, in the name of the trainer's token."""

    type: Literal["huggingface"]
    repo_id: Annotated[
        str,
        Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*$"),
    ]
    private: bool = True


class ExportCreate(Ask):
    """``merge`` sends full weights, base and adapter in one, in place of the adapter."""

    destination: Annotated[UrlDestination | HuggingFaceDestination, Field(discriminator="type")]
    merge: bool = False


class ExportRecord(Wire):
    """An adapter on its way out of the registry; ``url`` is where it ended."""

    id: str
    object: Literal["fine_tuning.adapter.export"] = "fine_tuning.adapter.export"
    created_at: int
    finished_at: int | None
    adapter: str
    destination: dict[str, Any]
    merge: bool
    status: Literal["queued", "running", "succeeded", "failed"]
    url: str | None
    error: JobError | None


class CanarySequence(Wire):
    """Token ids of one canary prompt with its answer, and what PEFT said of them.

    ``base`` and ``adapted`` hold natural-log probabilities of ``token_ids[1:]`` given what comes
    before, computed in float32 by transformers and PEFT: both of length ``len(token_ids) - 1``.
    """

    token_ids: list[int]
    base: list[float]
    adapted: list[float]


class Canary(Wire):
    """``canary.json`` beside every adapter: what proof of its presence is measured against."""

    version: Literal[1] = 1
    sequences: list[CanarySequence]
