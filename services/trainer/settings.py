"""What the trainer is told by its environment."""

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings
from services.common.webhooks import Endpoint

JobEnding = Literal[
    "fine_tuning.job.succeeded", "fine_tuning.job.failed", "fine_tuning.job.cancelled"
]


class WebhookEndpoint(Endpoint):
    """Where the operator wants to be told how jobs end."""

    events: frozenset[JobEnding] = Field(
        frozenset(get_args(JobEnding)), description="Those to send; all by default."
    )


class TrainerSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="FINEPROOF_TRAINER_", extra="forbid")

    storage_url: str = Field(description="fsspec URL of the artifact store; files and adapters.")
    base_models: dict[str, str] = Field(
        description="JSON object from a base model's name to its folder or Hugging Face id."
    )
    retriever_url: str | None = Field(
        None, description="Base URL of the retriever; recipes `rag` and `raft` need it."
    )
    generator_url: str | None = Field(
        None, description="Base URL of the generator; the check `known_facts` needs it."
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
        description="Most tokens in one forward pass, padding included; by default 3072 on a CPU "
        "and 16384 on a GPU. Larger batches are accumulated.",
    )
    mlflow_tracking_uri: str | None = Field(
        None,
        description="Where MLflow keeps runs, a server or a file; every job is reported there. "
        "MLflow's own variables, such as MLFLOW_TRACKING_TOKEN, are handed on.",
    )
    wandb_api_key: SecretStr | None = Field(
        None, description="Key for Weights & Biases, for jobs whose `integrations` ask for it."
    )
    wandb_base_url: str | None = Field(
        None, description="Weights & Biases elsewhere than at its own address."
    )
    wandb_mode: Literal["online", "offline"] = Field(
        "online", description="`offline` keeps runs in their folders, for `wandb sync`."
    )
    max_upload_bytes: int = Field(
        512 * 2**20, ge=1024, description="Largest file sent in one request, in bytes."
    )
    max_file_bytes: int = Field(
        8 * 2**30, ge=1024, description="Largest file sent in parts, in bytes."
    )
    max_unfinished_jobs: int = Field(
        100, ge=1, description="Jobs that may be unfinished at once; more are answered with 429."
    )
    max_unfinished_jobs_per_caller: int = Field(
        50, ge=1, description="The same for the jobs of one key."
    )
    max_event_watchers: int = Field(
        100,
        ge=1,
        description="Streams of events that one API process holds open; more are answered 429.",
    )
    export_urls: tuple[str, ...] = Field(
        (),
        description="JSON list of fsspec URLs under which adapters may be exported; none by "
        "default. `file:` ones are folders of the worker's host.",
    )
    huggingface_token: SecretStr | None = Field(
        None, description="Pushes exports to Hugging Face, into any repository it may write to."
    )
    huggingface_endpoint: str | None = Field(
        None, description="Base URL of the hub; by default Hugging Face's own."
    )
    webhooks: tuple[WebhookEndpoint, ...] = Field(
        (),
        description="JSON list of `{url, secret, events?}` that are told when a job succeeds, "
        "fails or is cancelled, signed as Standard Webhooks.",
    )
    devices: tuple[str, ...] | None = Field(
        None,
        description="JSON list of a worker's slots, one job each, by CUDA_VISIBLE_DEVICES: "
        '`["0", "1", "2,3"]`; `cpu`, `cpu:1`, … train without a GPU. By default one slot, with '
        "every GPU there is, or on the CPU.",
    )
    max_running_jobs_per_caller: int | None = Field(
        None, ge=1, description="Jobs one caller may have running at once; no limit by default."
    )
    max_attempts: int = Field(
        5,
        ge=1,
        description="Times a job is taken up without getting a step further before it fails. A "
        "trained adapter is published however often that takes.",
    )
    lease_seconds: float = Field(
        30, ge=1, description="How long a job waits for a worker that is silent to come back."
    )
    sweep_seconds: float = Field(
        10, gt=0, description="How often a worker looks for jobs whose message was lost."
    )
    pause_seconds: float = Field(
        300, gt=0, description="How long a pausing job may take to end its step and save."
    )
    keep_failed_days: float = Field(
        7, ge=0, description="Days for which the run folder of a failed job is kept."
    )

    @field_validator("devices")
    @classmethod
    def _distinct(cls, devices: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if devices is not None and (not all(devices) or len(set(devices)) < max(1, len(devices))):
            raise ValueError("name each slot's devices once, and at least one slot")
        return devices
