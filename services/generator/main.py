"""The generator's application: ``uvicorn services.generator.main:app``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from services.common.app import create_service, not_ready
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.storage import ArtifactStore
from services.generator.adapters import AdapterKeeper
from services.generator.api import router
from services.generator.loading import Engine
from services.generator.proof import Limits
from services.generator.rag import Rag
from services.generator.service import Generator
from services.generator.settings import GeneratorSettings
from services.generator.vllm import Fleet, Replica

# vLLM's server closes idle connections after 5 seconds; a request must not meet one closing.
_IDLE_SECONDS = 3
_READS = r"/v1/(chat/completions|completions|rag/query)"


def create_app(settings: GeneratorSettings) -> FastAPI:
    @asynccontextmanager
    async def resources(app: FastAPI) -> AsyncIterator[None]:
        key = settings.service_key.get_secret_value() if settings.service_key else None
        async with (
            _vllm_client(settings) as http,
            RetrieverClient.connect(settings.retriever_url, key) as retriever,
            TrainerClient.connect(settings.trainer_url, key) as trainer,
        ):
            fleet = _fleet(settings, http)
            app.state.fleet = fleet
            app.state.keeper = keeper = AdapterKeeper(
                app.state.db,
                fleet,
                trainer,
                ArtifactStore(settings.storage_url),
                settings.adapter_cache,
                _engine(settings),
            )
            app.state.generator = generator = Generator(
                fleet,
                keeper,
                base_model=settings.base_model,
                max_concurrent=settings.max_concurrent_requests,
                allow_prompt_logprobs=settings.allow_prompt_logprobs,
            )
            app.state.rag = Rag(generator, retriever)
            await keeper.look()
            keeping = asyncio.create_task(keeper.keep(settings.reconcile_seconds))
            try:
                yield
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)
                await keeper.close()

    return create_service(
        "generator",
        settings,
        routers=[router],
        migrations=Path(__file__).parent / "migrations",
        resources=resources,
        ready=_ready,
        read_posts=_READS,
    )


def _vllm_client(settings: GeneratorSettings) -> httpx.AsyncClient:
    # The rest is for canaries and looks, which must not wait for generations to end.
    connections = settings.max_concurrent_requests + 32
    return httpx.AsyncClient(
        limits=httpx.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_IDLE_SECONDS,
        ),
        trust_env=False,
    )


def _fleet(settings: GeneratorSettings, http: httpx.AsyncClient) -> Fleet:
    return Fleet(
        [
            Replica(
                http,
                str(url),
                base_model=settings.base_model,
                request_timeout=settings.request_timeout_seconds,
                adapter_timeout=settings.adapter_timeout_seconds,
            )
            for url in settings.vllm_urls
        ]
    )


def _engine(settings: GeneratorSettings) -> Engine:
    return Engine(
        base_model=settings.base_model,
        base_model_path=settings.base_model_path,
        max_lora_rank=settings.max_lora_rank,
        limits=Limits(
            proof_tolerance=settings.proof_tolerance,
            base_tolerance=settings.base_tolerance,
            min_logprob_delta=settings.min_logprob_delta,
        ),
    )


def _ready(app: FastAPI) -> None:
    fleet: Fleet = app.state.fleet
    if not fleet.healthy:
        raise not_ready("No vLLM replica serves the base model yet.")


def __getattr__(name: str) -> Any:
    if name == "app":
        return create_app(GeneratorSettings())
    raise AttributeError(name)
