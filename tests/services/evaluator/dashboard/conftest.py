"""The evaluator's real application over real PostgreSQL, with an experiment in its tables.

Its peers are small HTTP applications that speak the wire contracts: a trained adapter behind a
running vLLM is more than these pages need. ``nobody`` is a peer that is down.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.base import Page
from services.common.contracts.generator import Model, ModelList
from services.common.db import Database
from services.common.errors import NotFound, add_handlers
from services.evaluator import models, storage
from services.evaluator.main import create_app
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings
from tests.conftest import free_port
from tests.services.evaluator.dashboard import samples

HOSTILE = "<script>alert('answer')</script><img src=x onerror=alert(1)>"
ITEMS = 45


@dataclass(frozen=True)
class Wired:
    """The application's settings, and how it reaches its peers."""

    settings: EvaluatorSettings
    connect: Callable[[EvaluatorSettings], AbstractAsyncContextManager[Peers]]

    def app(self) -> FastAPI:
        return create_app(self.settings, connect=self.connect)


def peers_of(
    trainer: httpx.AsyncBaseTransport, generator: httpx.AsyncBaseTransport
) -> Callable[[Any], AbstractAsyncContextManager[Peers]]:
    @asynccontextmanager
    async def connect(_: Any) -> AsyncIterator[Peers]:
        def to(transport: httpx.AsyncBaseTransport) -> httpx.AsyncClient:
            return httpx.AsyncClient(transport=transport, base_url="http://peer")

        async with to(trainer) as first, to(generator) as second, to(nobody()) as third:
            yield Peers(
                trainer=TrainerClient(first),
                generator=GeneratorClient(second),
                retriever=RetrieverClient(third),
            )

    return connect


def nobody() -> httpx.AsyncBaseTransport:
    """A transport to a port at which nothing listens."""
    port = free_port()

    class Closed(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            request.url = request.url.copy_with(host="127.0.0.1", port=port)
            return await super().handle_async_request(request)

    return Closed()


def trainer_app() -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/v1/fine_tuning/jobs")
    def jobs() -> Any:
        return Page(data=[samples.job()])

    @app.get("/v1/fine_tuning/jobs/{job_id}")
    def job(job_id: str) -> Any:
        if job_id != "ftjob_1":
            raise NotFound(f"There is no fine-tuning job '{job_id}'.")
        return samples.job()

    @app.get("/v1/fine_tuning/jobs/{job_id}/events")
    def events(job_id: str) -> Any:
        return Page(data=samples.events([3.0, 2.0, 1.0]))

    @app.get("/v1/fine_tuning/adapters")
    def adapters() -> Any:
        return Page(data=[samples.record()])

    @app.get("/v1/fine_tuning/adapters/{name}")
    def adapter(name: str) -> Any:
        if name != samples.QA:
            raise NotFound(f"There is no adapter '{name}'.")
        return samples.record()

    return app


def generator_app() -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        return {"status": "ready"}

    @app.get("/v1/models")
    def served() -> Any:
        base = Model(id="smollm2", created=samples.AT)
        return ModelList(data=[base, Model(id=samples.QA, created=samples.AT, parent="smollm2")])

    @app.get("/v1/adapters")
    def adapters() -> Any:
        return Page(data=[samples.adapter()])

    @app.get("/v1/adapters/{name}")
    def adapter(name: str) -> Any:
        if name != samples.QA:
            raise NotFound(f"There is no adapter '{name}'.")
        return samples.adapter()

    return app


@pytest.fixture
def settings(database_url: str, storage_url: str) -> EvaluatorSettings:
    return EvaluatorSettings(
        mode="local",
        database_url=database_url,
        storage_url=storage_url,
        retriever_url="http://peer",
        generator_url="http://peer",
        trainer_url="http://peer",
    )


@pytest.fixture
def wired(settings: EvaluatorSettings) -> Wired:
    return Wired(
        settings,
        peers_of(httpx.ASGITransport(trainer_app()), httpx.ASGITransport(generator_app())),
    )


@pytest.fixture
def client(wired: Wired) -> Iterator[TestClient]:
    with opened(wired.app()) as client:
        yield client


def opened(app: FastAPI) -> TestClient:
    return TestClient(
        app,
        base_url="http://localhost",
        headers={"Accept": "text/html"},
        raise_server_exceptions=False,
    )


@pytest.fixture
def experiment_id(client: TestClient) -> str:
    """A completed experiment of 45 items; ``qa`` loses item 1 and gains item 2."""
    app: Any = client.app
    return insert_experiment(app.state.db, "exp_1")


def insert_experiment(db: Database, experiment_id: str) -> str:
    with db.transaction() as session:
        report = samples.report(experiment_id).model_dump(mode="json")
        storage.add(
            session,
            models.Experiment(
                id=experiment_id,
                finished_at=datetime.now(UTC),
                name="Handbook",
                spec=samples.spec().model_dump(mode="json"),
                dataset_sha256="cd" * 32,
                status="completed",
                phase="done",
                headline=samples.HEADLINE,
                report=report,
            ),
        )
        storage.add_items(session, experiment_id, [_item(number) for number in range(ITEMS)])
        storage.add_answers(
            session,
            experiment_id,
            [
                _answer(number, arm, condition)
                for number in range(ITEMS)
                for arm in ("qa", "base")
                for condition in ("closed_book", "retrieved")
            ],
        )
    return experiment_id


def _item(number: int) -> dict[str, Any]:
    return {
        "item_id": f"q{number:02d}",
        "ordinal": number,
        "question": f"Question {number}?",
        "reference": f"Reference {number}.",
        "cluster": f"doc{number // 5}",
        **{name: [] for name in ("references", "aliases", "evidence_ids")},
        **{name: [] for name in ("retrieved", "oracle", "distractors")},
    }


def _answer(number: int, arm: str, condition: str) -> dict[str, Any]:
    right = {("qa", 1): 0.0, ("base", 2): 0.0}.get((arm, number), 1.0)
    return {
        "item_id": f"q{number:02d}",
        "arm": arm,
        "condition": condition,
        "text": HOSTILE if (arm, number) == ("qa", 3) else f"{arm} says {number} {condition}",
        "finish_reason": "stop",
        "scores": {"contains_answer": right, "token_f1": 0.5},
    }
