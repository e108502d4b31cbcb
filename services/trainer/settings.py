"""What the trainer is told by its environment."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings


class TrainerSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="FINEPROOF_TRAINER_", extra="forbid")

    storage_url: str = Field(description="fsspec URL of the artifact store; files and adapters.")
    base_models: dict[str, str] = Field(
        description="JSON object from a base model's name to its folder or Hugging Face id."
    )
    retriever_url: str | None = Field(
        None, description="Base URL of the retriever; recipe `rag` needs it."
    )
    work_dir: Path = Field(
        Path(".fineproof/training"),
        description="Local folder of runs and their checkpoints; outlives the worker, so that a "
        "job goes on where it was.",
    )
    launch_arguments: tuple[str, ...] | None = Field(
        None,
        description="JSON list of arguments for `accelerate launch`; by default `--cpu "
        "--num_processes 1` on a machine without a GPU, else accelerate's own defaults.",
    )
    micro_batch_tokens: int | None = Field(
        None,
        ge=16,
        description="Most tokens in one forward pass, padding included; by default 2048 on a CPU "
        "and 16384 on a GPU. Larger batches are accumulated.",
    )
    max_upload_bytes: int = Field(512 * 2**20, ge=1024, description="Largest file, in bytes.")
    max_unfinished_jobs: int = Field(
        100, ge=1, description="Jobs that may wait or run at once; more are answered with 429."
    )
    max_attempts: int = Field(
        5, ge=1, description="Times a job is taken up after its worker died before it fails."
    )
