"""The three services an experiment asks, and how long it bears with them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay
from tenacity.wait import wait_random_exponential

from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.errors import FineproofError
from services.evaluator.settings import EvaluatorSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Peers:
    generator: GeneratorClient
    retriever: RetrieverClient
    trainer: TrainerClient


ConnectPeers = Callable[[EvaluatorSettings], AbstractAsyncContextManager[Peers]]


@asynccontextmanager
async def connect_peers(settings: EvaluatorSettings) -> AsyncIterator[Peers]:
    key = settings.service_key.get_secret_value() if settings.service_key else None
    async with (
        GeneratorClient.connect(settings.generator_url, key) as generator,
        RetrieverClient.connect(settings.retriever_url, key) as retriever,
        TrainerClient.connect(settings.trainer_url, key) as trainer,
    ):
        yield Peers(generator=generator, retriever=retriever, trainer=trainer)


def is_passing(error: BaseException) -> bool:
    """Whether asking again may help: a peer is away, late or overrun, not in disagreement."""
    return (
        isinstance(error, FineproofError)
        and error.status in (429, 502, 503, 504)
        # What was found out about an adapter stays true, whatever its status.
        and not error.code.startswith("adapter_")
    )


async def patiently(ask: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """``ask`` until it answers, for ``seconds`` at most; then the last error is raised."""
    async for attempt in AsyncRetrying(
        stop=stop_after_delay(seconds),
        wait=wait_random_exponential(multiplier=0.25, max=8),
        retry=retry_if_exception(is_passing),
        reraise=True,
    ):
        with attempt:
            return await ask()
    raise AssertionError("unreachable: tenacity reraises")
