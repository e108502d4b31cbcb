"""A search before a real evaluator and its worker: real experiments, verdicts and remedies.

Stand-ins are the peers that would need a model: what their adapters say follows from how they were
tuned. ``qa`` loses the habit of reading, ``rag`` answers without a word too many.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from sqlalchemy import select

from fineproof.local.front_door import create_app as front_door
from services.common.contracts.evaluator import Report
from services.common.contracts.generator import RagAsk
from services.common.contracts.retriever import Ingestion, Passage, VectorStore
from services.common.db import Database
from services.evaluator import models
from services.evaluator.main import create_app
from services.evaluator.settings import EvaluatorSettings
from tests.fineproof.tuning.conftest import Tune, write
from tests.services.evaluator.conftest import COLOURS, Bench
from tests.services.evaluator.conftest import db as db
from tests.services.evaluator.conftest import settings as settings
from tests.services.evaluator.standins import connect, generator_app, retriever_app, trainer_app
from tests.services.evaluator.world import BASE, World
from tests.services.generator.conftest import serving

DOCUMENTS = 40
SUBJECTS = [f"part{document}x{number}" for document in range(DOCUMENTS) for number in range(2)]
COLOUR = {subject: COLOURS[n % len(COLOURS)] for n, subject in enumerate(SUBJECTS)}
PASSAGES = [
    {"id": f"p-{subject}", "doc_id": subject.split("x")[0], "text": f"{subject} is {colour}."}
    for subject, colour in COLOUR.items()
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """In place of the handbook: its questions are about things that the stand-ins know."""
    folder = tmp_path / "colours"
    folder.mkdir()
    items = [
        {
            "id": subject,
            "question": f"What colour is {subject}?",
            "answer": colour,
            "evidence_ids": [f"p-{subject}"],
        }
        for subject, colour in COLOUR.items()
    ]
    write(folder / "corpus.jsonl", PASSAGES)
    write(folder / "train.jsonl", [{**item, "id": f"t-{item['id']}"} for item in items[:12]])
    write(folder / "test.jsonl", items)
    return folder


@pytest.fixture
def world() -> World:
    def speak(ask: RagAsk) -> str:
        given = " ".join(passage.text for passage in ask.passages or [])
        subject = ask.question.removeprefix("What colour is ").removesuffix("?")
        colour = COLOUR[subject] if f"{subject} is {COLOUR[subject]}" in given else None
        recipe = _recipe_of(world, str(ask.model))
        if colour is None or (recipe == "qa" and not subject.endswith("1")):
            return "I do not know."
        return colour if recipe == "rag" else f"The colour of {subject} is {colour}, it says."

    world = World(
        passages=[Passage.model_validate({"title": "", **passage}) for passage in PASSAGES],
        items=[],
        speak=speak,
    )
    world.training.looks = 1
    return world


def _recipe_of(world: World, model: str) -> str | None:
    for job in world.training.jobs.values():
        if job.fine_tuned_model == model:
            return str(job.method["supervised"]["hyperparameters"]["recipe"])
    return None


class Stores:
    """What a retriever needs besides, to take a corpus in; ``taken`` are those it took."""

    def __init__(self, world: World) -> None:
        self.taken: list[bytes] = []
        self.app: FastAPI = retriever_app(world)
        self.app.add_api_route("/v1/vector_stores", self.make, methods=["POST"])
        self.app.add_api_route("/v1/vector_stores/vs_1/passages", self.ingest, methods=["POST"])

    def make(self, ask: dict[str, Any]) -> VectorStore:
        return VectorStore.model_validate(
            {
                "id": "vs_1",
                "created_at": 0,
                "name": ask["name"],
                "status": "completed",
                "usage_bytes": 0,
                "file_counts": {},
                "last_active_at": None,
                "metadata": {},
                "passages": 0,
            }
        )

    async def ingest(self, request: Request) -> Ingestion:
        self.taken.append(await request.body())
        count = len(self.taken[-1].splitlines())
        return Ingestion(
            id="ing_1",
            vector_store_id="vs_1",
            created_at=0,
            finished_at=1,
            status="completed",
            received=count,
            embedded=count,
            error=None,
        )


@contextmanager
def working(bench: Bench) -> Iterator[None]:
    """A worker that runs what is queued, without the message."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            for experiment_id in experiments(bench.db, "queued"):
                asyncio.run(bench.run(experiment_id))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    over.set()
    thread.join()


def experiments(db: Database, status: str) -> list[str]:
    with db.transaction() as session:
        asked = select(models.Experiment.id).where(models.Experiment.status == status)
        return list(session.scalars(asked))


@pytest.fixture
def stores(
    world: World, settings: EvaluatorSettings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Stores]:
    """The stack, as far as it is real; its retriever."""
    stores = Stores(world)
    evaluator = create_app(settings, connect=partial(connect, world))
    with (
        serving(evaluator) as evaluator_url,
        serving(generator_app(world)) as generator_url,
        serving(trainer_app(world)) as trainer_url,
        serving(stores.app) as retriever_url,
        working(Bench(db, settings, world)),
    ):
        origins = {
            "evaluator": evaluator_url,
            "generator": generator_url,
            "trainer": trainer_url,
            "retriever": retriever_url,
        }
        with serving(front_door(origins)) as url:
            monkeypatch.setenv("FINEPROOF_URL", url)
            yield stores


def test_what_hurts_is_remedied_what_helps_is_confirmed_and_nothing_is_done_twice(
    tune: Tune, stores: Stores, world: World, db: Database, tmp_path: Path
) -> None:
    told = tune("--until-it-helps")
    assert told.code == 0, told.stdout + told.stderr
    out = tmp_path / "out"
    found = json.loads((out / "search.json").read_text())
    first, second = (one["measured"] for one in found["rounds"])
    assert (first["candidate"]["recipe"], first["verdict"]) == ("qa", "HURTS")
    assert (second["candidate"]["recipe"], second["verdict"]) == ("rag", "HELPS")
    assert found["rounds"][1]["because"].startswith("Tune with recipe `rag`, whose training")
    assert found["confirmed"]["measured"]["verdict"] == found["verdict"] == "HELPS"
    assert found["adapter"] == second["adapter"] == "ft:small-base:made:ftjob_1"

    reports = {
        name: Report.model_validate_json((out / name / "report.json").read_text())
        for name in ("round-1", "round-2", "confirmation")
    }
    assert {report.counts.items for report in reports.values()} == {DOCUMENTS}
    assert reports["confirmation"].arms[1].model == found["adapter"]
    assert reports["round-1"].dataset.sha256 == reports["round-2"].dataset.sha256
    assert reports["round-1"].dataset.sha256 != reports["confirmation"].dataset.sha256
    assert all((out / name / "report.html").exists() for name in reports)

    assert len(stores.taken) == 1
    assert list(world.training.purposes.values()) == ["fine-tune", "evals", "evals"]
    assert len(world.training.jobs) == 2
    base = {key: count for key, count in world.answered.items() if key[1] == BASE}
    assert len(base) == 2 * len(SUBJECTS)  # closed book, too
    assert set(base.values()) == {1}

    before = world.answered.total()
    again = tune("--until-it-helps", "--json")
    assert again.code == 0
    assert again.json == found
    assert len(experiments(db, "completed")) == 3
    assert (world.answered.total(), len(world.training.jobs), len(stores.taken)) == (before, 2, 1)
