"""The three services an experiment asks, and how long it bears with them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_before_delay
from tenacity.wait import wait_random_exponential

from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.errors import FineproofError
from services.evaluator.settings import EvaluatorSettings

T = TypeVar("T")

_BACKOFF = wait_random_exponential(multiplier=0.25, max=8)


@dataclass(frozen=True)
class Peers:
    generator: GeneratorClient
    retriever: RetrieverClient
    trainer: TrainerClient

    @property
    def models(self) -> GeneratorClient:
        """The generator asked once a call, for ``Concurrency.ask`` to say when again."""
        return GeneratorClient(self.generator.http, attempts=1)


ConnectPeers = Callable[[EvaluatorSettings], AbstractAsyncContextManager[Peers]]


@asynccontextmanager
async def connect_peers(settings: EvaluatorSettings) -> AsyncIterator[Peers]:
    key = settings.peer_key
    async with (
        GeneratorClient.connect(
            settings.generator_url, key, connections=settings.max_concurrency + 8
        ) as generator,
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


def retry_after(error: BaseException | None) -> float:
    """Seconds the peer asked to be left alone, 0 where it named none."""
    headers = error.headers if isinstance(error, FineproofError) else None
    try:
        # The other form, an HTTP date, is not used among peers.
        return max(0.0, float((headers or {}).get("Retry-After", 0)))
    except ValueError:
        return 0.0


def _pause(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return max(retry_after(error), _BACKOFF(state))


async def patiently(ask: Callable[[], Awaitable[T]], *, seconds: float) -> T:
    """``ask`` until it answers, for ``seconds`` at most; then the last error is raised.

    For what is not asked of a model; that goes by ``Concurrency.ask``.
    """
    async for attempt in AsyncRetrying(
        stop=stop_before_delay(seconds),
        wait=_pause,
        retry=retry_if_exception(is_passing),
        reraise=True,
    ):
        with attempt:
            return await ask()
    raise AssertionError("unreachable: tenacity reraises")
