"""What routes are given: everything the lifespan opened.

Coroutines, though none waits: a plain function would be called in a thread of its own.
"""

from typing import Annotated

from fastapi import Depends, Request

from services.common.clients.trainer import TrainerClient
from services.common.db import Database
from services.common.tasks import TaskQueue
from services.retriever.embedding import Embedder
from services.retriever.searching import Searches
from services.retriever.settings import RetrieverSettings
from services.retriever.writing import Writes


async def get_settings(request: Request) -> RetrieverSettings:
    settings: RetrieverSettings = request.app.state.settings
    return settings


async def get_database(request: Request) -> Database:
    database: Database = request.app.state.db
    return database


async def get_writes(request: Request) -> Writes:
    writes: Writes = request.app.state.writes
    return writes


async def get_searches(request: Request) -> Searches:
    searches: Searches = request.app.state.searches
    return searches


async def get_queue(request: Request) -> TaskQueue:
    queue: TaskQueue = request.app.state.queue
    return queue


async def get_embedder(request: Request) -> Embedder:
    embedder: Embedder = request.app.state.embedder
    return embedder


async def get_trainer(request: Request) -> TrainerClient:
    trainer: TrainerClient = request.app.state.trainer
    return trainer


SettingsDep = Annotated[RetrieverSettings, Depends(get_settings)]
DatabaseDep = Annotated[Database, Depends(get_database)]
WritesDep = Annotated[Writes, Depends(get_writes)]
SearchesDep = Annotated[Searches, Depends(get_searches)]
QueueDep = Annotated[TaskQueue, Depends(get_queue)]
EmbedderDep = Annotated[Embedder, Depends(get_embedder)]
TrainerDep = Annotated[TrainerClient, Depends(get_trainer)]
