"""Asking the other services for a page, without letting one that is down take the page with it."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import httpx
from pydantic import ValidationError

from services.common.clients.base import PeerClient, as_error
from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.base import Page
from services.common.contracts.generator import ModelList
from services.common.errors import FineproofError, NotFound, UpstreamFailed, UpstreamTimeout
from services.evaluator.peers import Peers

T = TypeVar("T")
Item = TypeVar("Item")

# Seconds a page waits for a peer: a person would rather read that it is slow.
PATIENCE = 2.0


@dataclass(frozen=True)
class Heard(Generic[T]):
    """What a peer said, or why it said nothing; one of the two is set."""

    value: T | None = None
    error: FineproofError | None = None

    @property
    def reason(self) -> str | None:
        return self.error.message if self.error else None

    @property
    def missing(self) -> bool:
        return isinstance(self.error, NotFound)


@dataclass(frozen=True)
class Health:
    name: str
    role: str
    state: Literal["ready", "starting", "down", "unknown"]
    detail: str


def asked_once(peers: Peers) -> Peers:
    """The same connections without the clients' retries, which would outlast a page."""
    return Peers(
        generator=GeneratorClient(peers.generator.http, attempts=1),
        retriever=RetrieverClient(peers.retriever.http, attempts=1),
        trainer=TrainerClient(peers.trainer.http, attempts=1),
    )


async def health(peers: Peers) -> list[Health]:
    """The other three services and vLLM; the evaluator is the one answering."""
    retriever, generator, trainer, models = await asyncio.gather(
        _readiness(peers.retriever, "Finds passages"),
        _readiness(peers.generator, "Answers, and loads adapters"),
        _readiness(peers.trainer, "Fine-tunes, and keeps adapters"),
        hear("generator", asked_once(peers).generator.models()),
    )
    return [retriever, generator, _engine(generator, models), trainer]


async def hear(name: str, asked: Awaitable[T], *, patience: float = PATIENCE) -> Heard[T]:
    """Wait up to ``patience`` seconds for an answer of the service called ``name``."""
    try:
        async with asyncio.timeout(patience):
            return Heard(await asked)
    except TimeoutError:
        return Heard(error=UpstreamTimeout(f"The {name} did not answer within {patience:g} s."))
    except FineproofError as error:
        return Heard(error=error)
    except ValidationError:
        return Heard(error=UpstreamFailed(f"The {name} answered what is not understood here."))


def needed(heard: Heard[T]) -> T:
    """The answer, for a page that is nothing without it."""
    if heard.value is None:
        raise heard.error or UpstreamFailed("A service answered nothing.")
    return heard.value


def listed(heard: Heard[Page[Item]]) -> list[Item]:
    return heard.value.data if heard.value else []


def reasons(*all_heard: Heard[Any]) -> str | None:
    """Why something is missing from a page, in a line; what is known not to be there is not."""
    return " ".join(h.reason for h in all_heard if h.reason and not h.missing) or None


async def _readiness(peer: PeerClient, role: str) -> Health:
    name = peer.service.capitalize()
    try:
        response = await peer.http.get("/readyz", timeout=PATIENCE)
    except httpx.TimeoutException:
        return Health(name, role, "down", f"No answer within {PATIENCE:g} s.")
    except httpx.TransportError as error:
        return Health(name, role, "down", f"Cannot be reached ({type(error).__name__}).")
    if response.is_error:
        return Health(name, role, "starting", as_error(response, peer.service).message)
    return Health(name, role, "ready", "Ready")


def _engine(generator: Health, models: Heard[ModelList]) -> Health:
    role = "Runs the model"
    if models.value is not None:
        bases = [model.id for model in models.value.data if model.parent is None]
        adapters = [model for model in models.value.data if model.parent in bases]
        serving = ", ".join(bases) or "no base model"
        with_adapters = f" and {len(adapters)} adapter{'s' * (len(adapters) != 1)}"
        return Health("vLLM", role, "ready", f"Serves {serving}{with_adapters if adapters else ''}")
    if generator.state == "down":
        return Health("vLLM", role, "unknown", "The generator cannot be asked.")
    return Health("vLLM", role, "starting", models.reason or "No answer.")
