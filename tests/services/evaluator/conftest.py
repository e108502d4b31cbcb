"""A world of known facts, and an evaluator in it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest

from services.common.contracts.evaluator import ExperimentCreate
from services.common.contracts.generator import RagAsk
from services.common.contracts.retriever import Passage
from services.common.db import Database, migrate
from services.common.storage import ArtifactStore
from services.evaluator import models, storage
from services.evaluator.main import MIGRATIONS, create_app
from services.evaluator.runner import run_experiment
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.standins import connect
from tests.services.evaluator.world import BASE, World

GOOD, BAD = "ft:small-base:rag:1", "ft:small-base:qa:1"
COLOURS = ("red", "green", "blue", "teal", "ochre", "mauve")
DOCUMENTS, PER_DOCUMENT = 12, 3


def speak(ask: RagAsk) -> str:
    """The base reads what it is given; ``BAD`` has lost the habit for two of three items."""
    given = " ".join(passage.text for passage in ask.passages or [])
    subject = ask.question.removeprefix("What colour is ").removesuffix("?")
    colour = next((c for c in COLOURS if f"{subject} is {c}" in given), None)
    if ask.model == BAD and not subject.endswith("0"):
        colour = None
    if colour is None:
        return "I do not know."
    return colour if ask.model == GOOD else f"The colour of {subject} is {colour}, it says."


@pytest.fixture
def world() -> World:
    passages: list[Passage] = []
    items: list[dict[str, Any]] = []
    for document in range(DOCUMENTS):
        for number in range(PER_DOCUMENT):
            subject = f"part{document}x{number}"
            colour = COLOURS[(document + number) % len(COLOURS)]
            passages.append(
                Passage(
                    id=f"p-{document}-{number}",
                    doc_id=f"doc-{document}",
                    title=f"Handbook {document}",
                    text=f"{subject} is {colour}.",
                )
            )
            items.append(
                {
                    "id": f"i-{document}-{number}",
                    "question": f"What colour is {subject}?",
                    "answer": colour,
                    "evidence_ids": [f"p-{document}-{number}"],
                }
            )
    return World(passages=passages, items=items, speak=speak, adapters=[GOOD, BAD])


@pytest.fixture
def settings(database_url: str, redis_url: str, storage_url: str) -> EvaluatorSettings:
    return EvaluatorSettings(
        mode="local",
        database_url=database_url,
        redis_url=redis_url,
        storage_url=storage_url,
        retriever_url="http://peer",
        generator_url="http://peer",
        trainer_url="http://peer",
        answer_concurrency=4,
        answer_patience_s=0.0,
        tuning_poll_s=0.01,
        log_level="ERROR",
    )


@pytest.fixture
def db(settings: EvaluatorSettings) -> Iterator[Database]:
    migrate(settings.database_url, schema="evaluator", migrations=MIGRATIONS)
    database = Database(settings.database_url, pool_size=4)
    yield database
    database.close()


def specification(**changes: Any) -> dict[str, Any]:
    return {
        "name": "colours",
        "dataset": {"name": "colours", "file_id": "file_1"},
        "vector_store_id": "vs_1",
        "arms": [
            {"name": "base", "model": BASE},
            {"name": "qa", "model": BAD},
            {"name": "rag", "model": GOOD},
        ],
        "statistics": {"resamples": 2000, "permutations": 2000},
    } | changes


class Bench:
    """Puts experiments into the database and runs them, as the API and the worker would."""

    def __init__(self, db: Database, settings: EvaluatorSettings, world: World) -> None:
        self.db = db
        self.settings = settings
        self.world = world
        self.artifacts = ArtifactStore(settings.storage_url)

    def put(self, experiment_id: str = "exp_1", **changes: Any) -> str:
        spec = ExperimentCreate.model_validate(specification(**changes))
        with self.db.transaction() as session:
            storage.add(
                session,
                models.Experiment(
                    id=experiment_id,
                    name=spec.name,
                    spec=spec.model_dump(mode="json"),
                    dataset_sha256="ef" * 32,
                ),
            )
        return experiment_id

    async def run(self, experiment_id: str = "exp_1") -> models.Experiment:
        await run_experiment(
            experiment_id,
            db=self.db,
            artifacts=self.artifacts,
            settings=self.settings,
            connect=partial(connect, self.world),
        )
        return self.find(experiment_id)

    def find(self, experiment_id: str = "exp_1") -> models.Experiment:
        with self.db.transaction() as session:
            found = storage.find(session, experiment_id, report=True)
            assert found is not None
            return found

    def answers(self, experiment_id: str = "exp_1") -> list[models.Answer]:
        with self.db.transaction() as session:
            return [
                answer
                for _, answer in storage.rows(session, experiment_id, 0, len(self.world.items))
            ]


@pytest.fixture
def bench(db: Database, settings: EvaluatorSettings, world: World) -> Bench:
    return Bench(db, settings, world)


@asynccontextmanager
async def serving(
    settings: EvaluatorSettings, world: World, **client: Any
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the real application in ``world``."""
    app = create_app(settings, connect=partial(connect, world))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://localhost",
            **client,
        ) as http,
    ):
        yield http


@pytest.fixture
async def http(settings: EvaluatorSettings, world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(settings, world) as client:
        yield client
