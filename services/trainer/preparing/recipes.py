"""The recipe that a job asks for, with the retriever it needs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.hyperparameters import (
    DpoHyperparameters,
    Raft,
    SupervisedHyperparameters,
)
from services.trainer.preparing.raft import WithDistractors
from services.trainer.preparing.rendering import ClosedBook, Recipe, WithPassages
from services.trainer.settings import TrainerSettings


@asynccontextmanager
async def open_recipe(
    settings: TrainerSettings, asked: SupervisedHyperparameters | DpoHyperparameters, seed: int
) -> AsyncIterator[Recipe]:
    url = settings.retriever_url
    if (
        isinstance(asked, DpoHyperparameters)
        or asked.recipe == "qa"
        or asked.retrieval is None
        or url is None
    ):
        yield ClosedBook()
        return
    async with RetrieverClient.connect(url, settings.peer_key) as retriever:
        if asked.recipe == "raft":
            yield WithDistractors(retriever, asked.retrieval, asked.raft or Raft(), seed=seed)
        else:
            yield WithPassages(retriever, asked.retrieval, seed=seed)
