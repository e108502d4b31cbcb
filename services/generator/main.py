"""The generator's application: ``uvicorn services.generator.main:app``."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from services.common.app import create_service, not_ready
from services.common.clients.evaluator import EvaluatorClient
from services.common.clients.trainer import TrainerClient
from services.common.line import Line
from services.common.storage import ArtifactStore
from services.generator.adapters.artifacts import AdapterCache
from services.generator.adapters.keeper import AdapterKeeper
from services.generator.adapters.loading import Engine
from services.generator.adapters.placement import Placement
from services.generator.adapters.proof import Limits
from services.generator.adapters.reconciler import Reconciler
from services.generator.adapters.warming import WarmUp
from services.generator.admission.ledger import SharedLedger
from services.generator.admission.limits import Limiter, LimitHeaders
from services.generator.aliases.api import router as alias_router
from services.generator.aliases.service import Aliases
from services.generator.api import router
from services.generator.metrics import GeneratorMetrics
from services.generator.rag.retrieval import TimelyRetriever
from services.generator.rag.service import Rag
from services.generator.responses.api import router as responses_router
from services.generator.responses.service import Responses
from services.generator.revision import base_revision
from services.generator.routing import Names
from services.generator.servers.asking import Server, Timeouts
from services.generator.servers.fleet import Fleet
from services.generator.servers.health import Health
from services.generator.servers.hosted import GuardedResolver, Hosted
from services.generator.servers.hosting import LOOPBACK, HostedModel, split_hosts
from services.generator.servers.transport import AiohttpTransport, Client
from services.generator.servers.vllm import Replica
from services.generator.service import Generator
from services.generator.settings import GeneratorSettings

# vLLM's server closes idle connections after 5 seconds, those of our deployments after 60: a
# request must not meet one closing, however late this process comes to send it.
_IDLE_SECONDS = 3
_READS = r"/v1/(chat/completions|completions|responses|rag/query)"


def create_app(settings: GeneratorSettings) -> FastAPI:
    @asynccontextmanager
    async def resources(app: FastAPI) -> AsyncIterator[None]:
        key = settings.peer_key
        async with (
            _vllm_client(settings) as http,
            _outside_client(settings) as outside,
            SharedLedger.connect(settings.redis_url) as ledger,
            TimelyRetriever.connect(settings.retriever_url, key) as retriever,
            TrainerClient.connect(settings.trainer_url, key) as trainer,
            EvaluatorClient.connect(settings.evaluator_url, key) as evaluator,
        ):
            retriever.longest_search = settings.retrieval_timeout_seconds
            metrics = GeneratorMetrics(app.state.metrics.registry)
            app.state.fleet = fleet = _fleet(settings, http, metrics)
            cache = AdapterCache(ArtifactStore(settings.storage_url), settings.adapter_cache)
            limiter = Limiter(
                ledger,
                default=settings.default_limits,
                callers=settings.limits_by_caller,
                metrics=metrics,
            )
            placement = Placement(
                fleet, _engine(settings), cache, drain_seconds=settings.drain_seconds
            )
            app.state.keeper = keeper = AdapterKeeper(
                app.state.db,
                fleet,
                trainer,
                cache,
                placement,
                places=settings.max_cpu_loras,
            )
            hosted = [_hosted(settings, model, outside, metrics) for model in settings.upstreams]
            names = Names(settings.base_model, {model.name: model.model for model in hosted})
            app.state.aliases = aliases = Aliases(
                app.state.db,
                names,
                fleet,
                keeper,
                trainer,
                evaluator,
                protected=settings.protected_aliases,
            )
            app.state.generator = generator = Generator(
                fleet,
                keeper,
                names,
                hosted,
                limiter=limiter,
                line=_line(settings, metrics, settings.max_concurrent_requests),
                longest_load=settings.adapter_wait_seconds,
                allow_prompt_logprobs=settings.allow_prompt_logprobs,
            )
            app.state.rag = Rag(generator, retriever)
            app.state.responses = Responses(generator, retriever)

            async def name_weights() -> None:
                generator.base_revision = await base_revision(settings.base_model_path)

            await aliases.refresh()
            await fleet.look()
            warm_up = WarmUp(placement, cache.root) if settings.warm_up else None
            reconciler = Reconciler(
                app.state.db,
                fleet,
                keeper,
                cache,
                warm_up,
                keep_idle=3600 * settings.adapter_cache_hours,
            )
            app.state.naming = naming = asyncio.create_task(name_weights())
            keeping = (
                naming,
                asyncio.create_task(reconciler.keep(settings.reconcile_seconds)),
                asyncio.create_task(limiter.keep()),
                asyncio.create_task(aliases.follow(settings.reconcile_seconds)),
            )
            try:
                yield
            finally:
                for task in keeping:
                    task.cancel()
                await asyncio.gather(*keeping, return_exceptions=True)
                await keeper.close()

    app = create_service(
        "generator",
        settings,
        routers=[alias_router, router, responses_router],
        migrations=Path(__file__).parent / "migrations",
        resources=resources,
        ready=_ready,
        needs_database=False,  # answering asks it nothing; what is loaded is served on
        read_posts=_READS,
    )
    app.add_middleware(LimitHeaders)
    return app


def _vllm_client(settings: GeneratorSettings) -> Client:
    # The rest is for canaries and looks, which must not wait for generations to end.
    connections = settings.max_concurrent_requests + 32
    transport = AiohttpTransport(connections=connections, idle=_IDLE_SECONDS)
    return Client(transport)


def _outside_client(settings: GeneratorSettings) -> Client:
    connections = sum(model.max_concurrent_requests for model in settings.upstreams) or 1
    _, networks = split_hosts(settings.upstream_allowed_hosts)
    if settings.mode == "local":
        networks = (*networks, *LOOPBACK)
    transport = AiohttpTransport(
        connections=connections, idle=_IDLE_SECONDS, resolver=GuardedResolver(networks)
    )
    return Client(transport)


def _hosted(
    settings: GeneratorSettings,
    model: HostedModel,
    http: Client,
    metrics: GeneratorMetrics,
) -> Hosted:
    usual = _timeouts(settings)
    timeouts = Timeouts(
        connect=usual.connect,
        first_token=model.first_token_timeout_seconds or usual.first_token,
        token=model.token_timeout_seconds or usual.token,
        total=model.request_timeout_seconds or usual.total,
    )
    return Hosted(
        model,
        Server(http, model.name, timeouts, _health(settings), metrics),
        _line(settings, metrics, model.max_concurrent_requests),
    )


def _timeouts(settings: GeneratorSettings) -> Timeouts:
    return Timeouts(
        connect=settings.connect_timeout_seconds,
        first_token=settings.first_token_timeout_seconds,
        token=settings.token_timeout_seconds,
        total=settings.request_timeout_seconds,
    )


def _health(settings: GeneratorSettings) -> Health:
    return Health(failures=settings.unhealthy_after, rest=settings.unhealthy_rest_seconds)


def _fleet(settings: GeneratorSettings, http: Client, metrics: GeneratorMetrics) -> Fleet:
    def replica(url: str) -> Replica:
        return Replica(
            Server(http, "vllm", _timeouts(settings), _health(settings), metrics),
            url,
            base_model=settings.base_model,
            adapter_timeout=settings.adapter_timeout_seconds,
        )

    return Fleet(
        replica, [str(u) for u in settings.vllm_urls], [str(n) for n in settings.vllm_names]
    )


def _line(settings: GeneratorSettings, metrics: GeneratorMetrics, places: int) -> Line:
    return Line(
        places,
        length=settings.max_waiting_requests,
        patience=settings.max_wait_seconds,
        metrics=metrics,
    )


def _engine(settings: GeneratorSettings) -> Engine:
    return Engine(
        base_model=settings.base_model,
        base_model_path=settings.base_model_path,
        max_lora_rank=settings.max_lora_rank,
        target_modules=settings.lora_target_modules,
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
    if not app.state.naming.done():
        # What is said before could not be told from another model's, and would be asked again.
        raise not_ready("The base model's weights are being read, for their name.")
    settings: GeneratorSettings = app.state.settings
    if settings.warm_up and not any(replica.warm for replica in fleet.healthy):
        raise not_ready("vLLM is being asked through its first adapter; half a minute on a CPU.")


def __getattr__(name: str) -> Any:
    if name == "app":
        return create_app(GeneratorSettings())
    raise AttributeError(name)
