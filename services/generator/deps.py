"""What routes are given; not by plain functions, which FastAPI sends through a thread each time."""

from typing import Annotated

from fastapi import Depends, Request

from services.generator.adapters.keeper import AdapterKeeper
from services.generator.aliases.service import Aliases
from services.generator.rag.service import Rag
from services.generator.responses.service import Responses
from services.generator.service import Generator


async def get_generator(request: Request) -> Generator:
    generator: Generator = request.app.state.generator
    return generator


async def get_keeper(request: Request) -> AdapterKeeper:
    keeper: AdapterKeeper = request.app.state.keeper
    return keeper


async def get_aliases(request: Request) -> Aliases:
    aliases: Aliases = request.app.state.aliases
    return aliases


async def get_rag(request: Request) -> Rag:
    rag: Rag = request.app.state.rag
    return rag


async def get_responses(request: Request) -> Responses:
    responses: Responses = request.app.state.responses
    return responses


GeneratorDep = Annotated[Generator, Depends(get_generator)]
AliasesDep = Annotated[Aliases, Depends(get_aliases)]
KeeperDep = Annotated[AdapterKeeper, Depends(get_keeper)]
RagDep = Annotated[Rag, Depends(get_rag)]
ResponsesDep = Annotated[Responses, Depends(get_responses)]
