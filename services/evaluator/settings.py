"""What the evaluator is told by its environment."""

from typing import Literal, get_args

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.contracts.gate import GateFloor
from services.common.settings import ServiceSettings
from services.common.webhooks import Endpoint

RunEnding = Literal["eval.run.succeeded", "eval.run.failed", "eval.run.canceled"]


class WebhookEndpoint(Endpoint):
    """Where the operator wants to be told how runs of evals end."""

    events: frozenset[RunEnding] = Field(
        frozenset(get_args(RunEnding)), description="Those to send; all by default."
    )


class EvaluatorSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="FINEPROOF_EVALUATOR_", extra="forbid")

    storage_url: str = Field(description="fsspec URL of the artifact store; reports lie in it.")
    retriever_url: str = Field(description="Base URL of the retriever.")
    generator_url: str = Field(description="Base URL of the generator.")
    trainer_url: str = Field(description="Base URL of the trainer: files and adapters.")
    embedding_model: str | None = Field(
        None,
        min_length=1,
        description="Folder or Hugging Face id of a sentence-transformers model, which the worker "
        "scores semantic_similarity and graders of cosine with; without one there are none.",
    )
    python_sandbox_url: str | None = Field(
        None,
        description="Base URL of a sandbox of yours that runs python graders, at `/grade`; without "
        "one they are refused.",
    )
    webhooks: tuple[WebhookEndpoint, ...] = Field(
        (),
        description="JSON list of `{url, secret, events?}` that are told when a run of an eval "
        "succeeds, fails or is canceled, signed as Standard Webhooks.",
    )
    answer_concurrency: int = Field(
        24,
        ge=1,
        le=1024,
        description="Requests made of the generator at once to begin with; then as it bears.",
    )
    max_concurrency: int = Field(
        256, ge=1, le=1024, description="Most requests made of the generator at once."
    )
    answer_patience_s: float = Field(
        120.0, ge=0, description="Seconds a question is tried again before it counts as unscored."
    )
    tuning_poll_s: float = Field(
        2.0, gt=0, description="Seconds between two looks at the jobs that make arms."
    )
    max_items: int = Field(50_000, ge=1, description="Most test items one experiment may have.")
    gate_floor: GateFloor | None = Field(
        None, description="JSON of what every gate asks of an arm, whatever a caller's policy says."
    )
    max_attempts: int = Field(
        20, ge=1, description="Times a run is taken up after its worker died before it fails."
    )
    max_event_watchers: int = Field(
        100,
        ge=1,
        description="Streams of events that one API process holds open; more are answered 429.",
    )
    cache_days: int = Field(
        90, ge=1, description="Days that what a model said is kept for others after its last use."
    )
    cache_max_bytes: int = Field(
        10 * 2**30, ge=0, description="Most bytes kept of what models said; the oldest goes first."
    )
