"""What the generator is told by its environment."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, HttpUrl, model_validator
from pydantic_settings import SettingsConfigDict

from services.common.settings import ServiceSettings
from services.generator.servers.hosting import HostedModel, check


class CallerLimits(BaseModel):
    """What one caller may ask for; null is no limit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: int | None = Field(None, ge=1, le=1_000_000)
    tokens_per_minute: int | None = Field(
        None, ge=1, le=1_000_000_000, description="Of prompts and answers together."
    )
    concurrent_requests: int | None = Field(
        None, ge=1, le=100_000, description="Answers under way or waited for at once."
    )


class GeneratorSettings(ServiceSettings):
    model_config = SettingsConfigDict(
        env_prefix="FINEPROOF_GENERATOR_", extra="forbid", env_ignore_empty=True
    )

    vllm_urls: tuple[HttpUrl, ...] = Field(
        (), description="JSON list of vLLM replicas, each serving the base model."
    )
    vllm_names: tuple[HttpUrl, ...] = Field(
        (),
        description="JSON list of http URLs whose host names have one address a vLLM replica, as a "
        "headless Service of Kubernetes does; they are resolved at every look.",
    )
    base_model: str = Field(
        min_length=1, description="Name under which vLLM serves the base model."
    )
    base_model_path: str = Field(
        description="Folder or Hugging Face id of the base model; its safetensors headers say "
        "which modules an adapter may change."
    )
    adapter_cache: Path = Field(description="Folder for adapters; every vLLM replica reads it.")
    adapter_cache_hours: float = Field(
        24,
        ge=1,
        description="How long an adapter that is not loaded stays in ADAPTER_CACHE after it was "
        "last fetched.",
    )
    storage_url: str = Field(description="fsspec URL of the artifact store the trainer writes to.")
    retriever_url: str = Field("http://127.0.0.1:8001", description="Base URL of the retriever.")
    trainer_url: str = Field("http://127.0.0.1:8003", description="Base URL of the trainer.")
    evaluator_url: str = Field("http://127.0.0.1:8004", description="Base URL of the evaluator.")
    protected_aliases: tuple[str, ...] = Field(
        ("*:production",),
        description="JSON list of patterns (`*`, `?`) of aliases that only an adapter which passed "
        "a gate may take.",
    )
    max_lora_rank: int = Field(
        16, ge=1, le=512, description="vLLM's --max-lora-rank; adapters above it are refused."
    )
    max_cpu_loras: int = Field(
        8,
        ge=1,
        description="vLLM's --max-cpu-loras; of more adapters the least recently used are "
        "unloaded, and come back when they are asked.",
    )
    lora_target_modules: tuple[str, ...] | None = Field(
        None,
        description="vLLM's --lora-target-modules as a JSON list; adapters that change others are "
        "refused. All linear modules where it is not set.",
    )
    drain_seconds: float = Field(
        30,
        ge=0,
        description="Longest wait for answers under way before their adapter is unloaded.",
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
        512, ge=1, description="Generations that one process has under way at once; more wait."
    )
    max_waiting_requests: int = Field(
        512, ge=0, description="Requests that may wait for a place; more are answered 503."
    )
    max_wait_seconds: float = Field(
        30, gt=0, description="Longest wait for a place; then the answer is 503."
    )
    upstreams: tuple[HostedModel, ...] = Field(
        (),
        description="JSON list of models at other hosts: `name`, `url`, `max_model_len` and, where "
        "needed, `model`, `api_key` (or `api_key_env`, `api_key_file`), `max_concurrent_requests` "
        "and timeouts.",
    )
    upstream_allowed_hosts: tuple[str, ...] = Field(
        (),
        description="JSON list of the host names that UPSTREAMS may name. Their addresses must be "
        "public, or in a network (`10.1.0.0/16`) or an address of this list.",
    )
    default_limits: CallerLimits = Field(
        CallerLimits(),
        description="JSON object of what each key may ask for: `requests_per_minute`, "
        "`tokens_per_minute`, `concurrent_requests`. Services that show `SERVICE_KEY` are exempt.",
    )
    caller_limits: dict[str, CallerLimits] = Field(
        {}, description="JSON object from a key's name to limits in place of the default ones."
    )
    allow_prompt_logprobs: bool = Field(
        False,
        description="Hand on requests for log-probabilities of the prompt itself. With LoRA "
        "enabled, vLLM's engine on a CPU dies of one that meets any other request (vLLM issues "
        "16668 and 29955).",
    )
    connect_timeout_seconds: float = Field(
        5, gt=0, description="Longest wait for a connection to a model server."
    )
    first_token_timeout_seconds: float = Field(
        300, gt=0, description="Longest wait for the first token of a stream."
    )
    token_timeout_seconds: float = Field(
        120, gt=0, description="Longest silence of a model server within a stream."
    )
    request_timeout_seconds: float = Field(
        1800,
        gt=0,
        description="Longest that an answer may take, from asking the model server to the last "
        "byte.",
    )
    retrieval_timeout_seconds: float = Field(
        30, gt=0, description="Longest wait for the retriever to find passages."
    )
    adapter_wait_seconds: float = Field(
        120,
        gt=0,
        description="Longest that a request waits for its adapter to be loaded, which then goes "
        "on without it.",
    )
    unhealthy_after: int = Field(
        3, ge=1, description="Failures in a row that let a model server rest."
    )
    unhealthy_rest_seconds: float = Field(
        5,
        gt=0,
        description="How long it is not asked then; twice as long each time after that, a minute "
        "at most.",
    )
    warm_up: bool = Field(
        True,
        description="Ask each vLLM once through an adapter without effect when it has started: on "
        "a CPU the first one takes it about 20 seconds. The service is ready afterwards.",
    )
    adapter_timeout_seconds: float = Field(
        300,
        gt=0,
        description="Longest wait for vLLM to load an adapter or score a canary.",
    )
    reconcile_seconds: float = Field(
        5,
        gt=0,
        description="Pause between looks at which adapters each vLLM replica holds, and at "
        "what aliases stand for.",
    )

    @model_validator(mode="after")
    def _there_are_replicas(self) -> Self:
        if not self.vllm_urls and not self.vllm_names:
            raise ValueError("VLLM_URLS or VLLM_NAMES must name a vLLM")
        if any(name.scheme != "http" for name in self.vllm_names):
            raise ValueError("VLLM_NAMES must be http: no certificate names an address")
        return self

    @model_validator(mode="after")
    def _limit_known_callers(self) -> Self:
        unknown = sorted(set(self.caller_limits) - {key.name for key in self.api_keys})
        if unknown and self.mode == "production":
            raise ValueError(f"CALLER_LIMITS names '{unknown[0]}', and no key is called so")
        return self

    @model_validator(mode="after")
    def _upstreams_are_allowed(self) -> Self:
        check(self.upstreams, self.upstream_allowed_hosts, local=self.mode == "local")
        names = [self.base_model, *(model.name for model in self.upstreams)]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"UPSTREAMS: the name '{twice[0]}' is taken")
        return self

    @property
    def limits_by_caller(self) -> Mapping[str, CallerLimits]:
        """Of those callers who do not have the default limits."""
        mine = hashlib.sha256((self.peer_key or "").encode()).hexdigest()
        peers = {key.name: CallerLimits() for key in self.api_keys if key.sha256 == mine}
        return peers | self.caller_limits
