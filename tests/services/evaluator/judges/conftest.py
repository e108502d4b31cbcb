"""A judge to be met, with a memory that needs no database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from services.common.clients.generator import GeneratorClient
from services.common.contracts.judge import JudgeAsk
from services.evaluator.concurrency import Concurrency
from services.evaluator.judges.asking import Asking
from services.evaluator.judges.judge import Judge
from services.evaluator.judges.meeting import meet
from services.evaluator.judges.memory import Memory
from services.evaluator.models import Json
from tests.services.evaluator.judges.fake import FakeJudge

MODEL = "a-judge"


class Notebook(Memory):
    """A memory of this process only."""

    def __init__(self) -> None:
        self.kept: dict[str, Json] = {}

    async def known(self, keys: Collection[str]) -> dict[str, Json]:
        return {key: self.kept[key] for key in keys if key in self.kept}

    def keep(self, key: str, reply: Json) -> None:
        self.kept.setdefault(key, reply)

    async def flush(self) -> None:
        """Nothing is under way."""


Meet = Callable[..., Awaitable[Judge]]


@pytest.fixture
def fake() -> FakeJudge:
    return FakeJudge()


@pytest.fixture
def notebook() -> Notebook:
    return Notebook()


@dataclass
class Time:
    """A clock that goes on while one sleeps, and no longer."""

    now: float = 0.0

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def met(fake: FakeJudge, notebook: Notebook, time: Time) -> AsyncIterator[Meet]:
    """Meet the fake judge as a specification declares it, with so much patience."""
    app = Starlette(routes=[Route("/v1/chat/completions", fake.complete, methods=["POST"])])
    transport = httpx.ASGITransport(app)
    concurrency = Concurrency(start=8, most=8, clock=lambda: time.now, sleep=time.sleep)

    async with httpx.AsyncClient(transport=transport, base_url="http://generator") as http:

        async def meet_it(patience_s: float = 0.0, **changes: Any) -> Judge:
            ask = JudgeAsk.model_validate({"model": MODEL} | changes)
            asking = Asking(GeneratorClient(http, attempts=1), concurrency, patience_s)
            return await meet(ask, asking, notebook)

        yield meet_it
