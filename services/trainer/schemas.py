"""Wire models that only the trainer's own routes speak."""

from dataclasses import dataclass
from typing import Annotated, BinaryIO, Literal, get_args

from pydantic import Field

from services.common.contracts.base import Ask, Id, Wire
from services.common.contracts.trainer import FileObject, Purpose

UPLOAD_PURPOSES = get_args(Purpose)


class ExpiresAfter(Ask):
    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


@dataclass(frozen=True)
class IncomingFile:
    """A file on its way in: spooled to disk by the form parser, never whole in memory.

    ``expires_after`` counts seconds from its creation.
    """

    filename: str
    purpose: str
    content: BinaryIO
    expires_after: int | None = None


class UploadCreate(Ask):
    bytes: Annotated[int, Field(ge=1)]
    filename: Annotated[str, Field(min_length=1, max_length=1000)]
    mime_type: Annotated[str, Field(min_length=1, max_length=255)]
    purpose: Purpose
    expires_after: ExpiresAfter | None = None


class UploadComplete(Ask):
    """``part_ids`` in the order of the content; ``md5`` of the whole, in hex."""

    part_ids: Annotated[list[Id], Field(min_length=1, max_length=10_000)]
    md5: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")] | None = None


class UploadObject(Wire):
    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: FileObject | None = None


class UploadPartObject(Wire):
    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str


class CheckpointMetrics(Wire):
    """OpenAI's. Validation is always over the whole file, so ``full_valid_*`` are the same."""

    step: int
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None
    valid_mean_token_accuracy: float | None = None
    full_valid_loss: float | None = None
    full_valid_mean_token_accuracy: float | None = None


class FineTuningCheckpoint(Wire):
    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics


class EstimatedMemory(Wire):
    """Bytes of one process. ``served`` is taken after training, on the model as it is served, and
    not besides it; ``micro_batch`` counts examples."""

    weights: int
    adapter: int
    activations: int
    logits: int
    runtime: int
    served: int
    micro_batch: int


class Estimate(Wire):
    """What a fine-tuning would take.

    ``tokens`` are of one epoch, ``longest`` of one example; ``tokens_from`` says whether ``all``
    examples were counted, a ``sample`` of them, or a sample with real ``searches``. ``basis`` says
    what ``seconds`` of training are reckoned from; ``reason`` why something is not known.
    """

    object: Literal["fine_tuning.estimate"] = "fine_tuning.estimate"
    model: str
    examples: int
    tokens: int
    longest: int
    tokens_from: Literal["all", "sample", "searches"]
    n_epochs: int
    batch_size: int
    steps: int
    seconds: float | None
    basis: Literal["earlier_jobs", "device"] | None
    memory_bytes: int | None
    memory: EstimatedMemory | None
    device: str | None
    fits: bool | None
    reason: str | None
