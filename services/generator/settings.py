"""What the generator is told by its environment."""

from pathlib import Path

from pydantic import Field, HttpUrl
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings


class GeneratorSettings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="FINEPROOF_GENERATOR_", extra="forbid")

    vllm_urls: tuple[HttpUrl, ...] = Field(
        min_length=1, description="JSON list of vLLM replicas, each serving the base model."
    )
    base_model: str = Field(
        min_length=1, description="Name under which vLLM serves the base model."
    )
    base_model_path: str = Field(
        description="Folder or Hugging Face id of the base model; its safetensors headers say "
        "which modules an adapter may change."
    )
    adapter_cache: Path = Field(description="Folder for adapters; every vLLM replica reads it.")
    storage_url: str = Field(description="fsspec URL of the artifact store the trainer writes to.")
    retriever_url: str = Field("http://127.0.0.1:8001", description="Base URL of the retriever.")
    trainer_url: str = Field("http://127.0.0.1:8003", description="Base URL of the trainer.")
    max_lora_rank: int = Field(
        16, ge=1, le=512, description="vLLM's --max-lora-rank; adapters above it are refused."
    )
    proof_tolerance: float = Field(
        0.01,
        gt=0,
        description="Largest accepted difference, in nats, between a served canary token and "
        "PEFT's; four times the difference seen on the base model where that is larger.",
    )
    base_tolerance: float = Field(
        0.5,
        gt=0,
        description="Largest accepted difference, in nats, between the served base model and the "
        "one an adapter was trained on; beyond it they are different models.",
    )
    min_logprob_delta: float = Field(
        1e-3,
        gt=0,
        description="Smallest change of a canary token's log-probability, in nats, that counts "
        "as an effect.",
    )
    max_concurrent_requests: int = Field(
        512, ge=1, description="Generations under way at once; more are answered 429."
    )
    allow_prompt_logprobs: bool = Field(
        False,
        description="Hand on requests for log-probabilities of the prompt itself. With LoRA "
        "enabled, vLLM's engine on a CPU dies of one that meets any other request (vLLM issues "
        "16668 and 29955).",
    )
    request_timeout_seconds: float = Field(
        600, gt=0, description="Longest silence of vLLM within one generation."
    )
    adapter_timeout_seconds: float = Field(
        300,
        gt=0,
        description="Longest wait for vLLM to load an adapter or score a canary; the first "
        "adapter after vLLM's start warms kernels up for about 20 seconds on a CPU.",
    )
    reconcile_seconds: float = Field(
        5, gt=0, description="Pause between looks at which adapters each vLLM replica holds."
    )
