"""What routes are given."""

from typing import Annotated

from fastapi import Depends, Request

from services.generator.adapters import AdapterKeeper
from services.generator.rag import Rag
from services.generator.service import Generator


def get_generator(request: Request) -> Generator:
    generator: Generator = request.app.state.generator
    return generator


def get_keeper(request: Request) -> AdapterKeeper:
    keeper: AdapterKeeper = request.app.state.keeper
    return keeper


def get_rag(request: Request) -> Rag:
    rag: Rag = request.app.state.rag
    return rag


GeneratorDep = Annotated[Generator, Depends(get_generator)]
KeeperDep = Annotated[AdapterKeeper, Depends(get_keeper)]
RagDep = Annotated[Rag, Depends(get_rag)]
