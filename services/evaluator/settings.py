"""What the evaluator is told by its environment."""

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings


class EvaluatorSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="FINEPROOF_EVALUATOR_", extra="forbid")

    storage_url: str = Field(description="fsspec URL of the artifact store; reports lie in it.")
    retriever_url: str = Field(description="Base URL of the retriever.")
    generator_url: str = Field(description="Base URL of the generator.")
    trainer_url: str = Field(description="Base URL of the trainer: files and adapters.")
    answer_concurrency: int = Field(
        24, ge=1, le=64, description="Answers asked of the generator at once."
    )
    answer_patience_s: float = Field(
        120.0, ge=0, description="Seconds a question is tried again before it counts as unscored."
    )
    max_items: int = Field(50_000, ge=1, description="Most test items one experiment may have.")
    max_attempts: int = Field(
        20, ge=1, description="Times a run is taken up after its worker died before it fails."
    )
