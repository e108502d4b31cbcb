"""The trainer's wire: files, fine-tuning jobs, and the adapters they end in.

Field names are OpenAI's, and under ``hyperparameters`` those of PEFT and TRL.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from services.common.contracts.base import Ask, Id, Metadata, Wire

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


Recipe = Literal["qa", "rag"]


class LoraHyperparameters(Ask):
    """PEFT's ``LoraConfig`` fields, by its names."""

    r: Annotated[int, Field(ge=1, le=512)] = 16
    lora_alpha: Annotated[int, Field(ge=1, le=4096)] = 32
    lora_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    target_modules: (
        Literal["all-linear"] | list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]]
    ) = "all-linear"
    use_rslora: bool = False


class Retrieval(Ask):
    """Where recipe ``rag`` finds the passages of each training prompt.

    The gold passages (``evidence_ids`` of a row) are put among what the retriever returns when
    ``include_gold``: a prompt that lacks its answer would teach the model to guess.
    """

    vector_store_id: Id
    max_num_results: Annotated[int, Field(ge=1, le=20)] = 3
    include_gold: bool = True


class SupervisedHyperparameters(Ask):
    """OpenAI's three, then TRL's and PEFT's own."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=100)] | Literal["auto"] = "auto"
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = 0.03
    max_length: Annotated[int, Field(ge=16, le=131_072)] = 1024
    lora: LoraHyperparameters = Field(default_factory=LoraHyperparameters)
    recipe: Recipe = "qa"
    retrieval: Retrieval | None = None


class Supervised(Ask):
    hyperparameters: SupervisedHyperparameters = Field(default_factory=SupervisedHyperparameters)


class Method(Ask):
    type: Literal["supervised"] = "supervised"
    supervised: Supervised = Field(default_factory=Supervised)


class OpenAIHyperparameters(Ask):
    """OpenAI's deprecated top-level ``hyperparameters``."""

    n_epochs: Annotated[int, Field(ge=1, le=50)] | Literal["auto"] = "auto"
    batch_size: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = "auto"
    learning_rate_multiplier: Annotated[float, Field(gt=0, le=100)] | Literal["auto"] = "auto"


class FineTuningJobCreate(Ask):
    model: Id
    training_file: Id
    validation_file: Id | None = None
    suffix: (
        Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
        | None
    ) = None
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    metadata: Metadata = Field(default_factory=dict)
    method: Method | None = None
    hyperparameters: OpenAIHyperparameters | None = None


JobStatus = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]


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
    metadata: dict[str, str]
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

    ``url`` is the fsspec URL of its folder (PEFT's ``adapter_config.json`` and
    ``adapter_model.safetensors``, our ``canary.json``); ``sha256`` is that of the safetensors file.
    """

    id: str
    object: Literal["fine_tuning.adapter"] = "fine_tuning.adapter"
    created_at: int
    base_model: str
    recipe: str
    job_id: str
    step: int
    sha256: str
    dataset_sha256: str
    rank: int
    target_modules: list[str]
    url: str
    files: list[AdapterFile]
    metrics: dict[str, float]


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
