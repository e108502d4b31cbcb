"""The services behind one origin, and what a command puts there before it asks anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fineproof.data.reading import sha256_of
from fineproof.errors import UserError
from fineproof.experiment.dataset import passage_lines
from fineproof.experiment.memory import Memory
from fineproof.experiment.progress import Board
from services.common.clients.evaluator import EvaluatorClient
from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.retriever import VectorStoreCreate
from services.common.contracts.trainer import Purpose

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Stack:
    """The four services behind one origin."""

    retriever: RetrieverClient
    trainer: TrainerClient
    generator: GeneratorClient
    evaluator: EvaluatorClient


@asynccontextmanager
async def connected(url: str, key: str | None) -> AsyncIterator[Stack]:
    async with AsyncExitStack() as exits:
        yield Stack(
            retriever=await exits.enter_async_context(RetrieverClient.connect(url, key)),
            trainer=await exits.enter_async_context(TrainerClient.connect(url, key)),
            generator=await exits.enter_async_context(GeneratorClient.connect(url, key)),
            evaluator=await exits.enter_async_context(EvaluatorClient.connect(url, key)),
        )


async def served_base(generator: GeneratorClient) -> str:
    """The base model's name. Raises :class:`UserError` where none is served."""
    served = await generator.models()
    bases = [model.id for model in served.data if model.parent is None]
    if not bases:
        raise UserError("The generator serves no base model; see 'fineproof status'.")
    return bases[0]


async def ingested(
    retriever: RetrieverClient,
    corpus: Path,
    *,
    sha256: str,
    name: str,
    memory: Memory,
    board: Board,
) -> str:
    """The vector store that holds ``corpus``, all of it searchable; made and filled once."""

    async def make() -> str:
        store = await retriever.create_store(VectorStoreCreate(name=name))
        ingestion = await retriever.ingest(store.id, passage_lines(corpus))
        with board.bar("Ingesting passages", ingestion.received) as bar:
            while ingestion.status == "in_progress":
                bar.at(ingestion.embedded)
                await asyncio.sleep(POLL_SECONDS)
                ingestion = await retriever.ingestion(store.id, ingestion.id)
            if ingestion.status != "completed":
                raise UserError(f"Ingestion {ingestion.status}: {ingestion.error}")
            bar.at(ingestion.received)
        return store.id

    return await memory.once("vector_store", sha256, make, retriever.store)


async def uploaded(trainer: TrainerClient, path: Path, purpose: Purpose, memory: Memory) -> str:
    """The id of ``path`` as a file; sent once, whatever folder it lies in."""

    async def send() -> str:
        return (await trainer.upload_file(path, purpose)).id

    return await memory.once(f"file-{purpose}", sha256_of(path), send, trainer.file)
