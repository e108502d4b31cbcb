"""Wire models that only the trainer's own routes speak."""

from dataclasses import dataclass
from typing import BinaryIO, Literal

from services.common.contracts.base import Wire

UPLOAD_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")


@dataclass(frozen=True)
class Upload:
    """A file on its way in: spooled to disk by the form parser, never whole in memory."""

    filename: str
    purpose: str
    content: BinaryIO


class CheckpointMetrics(Wire):
    step: int
    train_loss: float | None = None
    train_mean_token_accuracy: float | None = None
    valid_loss: float | None = None


class FineTuningCheckpoint(Wire):
    id: str
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: CheckpointMetrics
