"""An evaluator's worker that can be killed, and peers that hold a request until it is."""

import asyncio
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import uvicorn
from fastapi import FastAPI
from sqlalchemy import func, select, update
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from services.evaluator import models
from services.evaluator.evals.models import RunRow
from tests.conftest import free_port
from tests.services.evaluator.conftest import Bench
from tests.services.evaluator.evals.conftest import Bench as EvalBench
from tests.services.evaluator.standins import generator_app, retriever_app, trainer_app
from tests.services.evaluator.test_worker import environment


def wait_for(condition: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.05)


class Gate:
    """Lets requests through, and from the ``let``-th on ``held`` paths none, until it is opened.

    What was held is never answered: who asked is dead by then.
    """

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.held: str | None = None
        self.let = 0
        self.waiting = 0
        self.inside = 0

    def hold(self, path: str, *, after: int) -> None:
        self.let, self.waiting, self.held = after, 0, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        held = self.held
        if scope["type"] == "http" and held is not None and held in scope["path"]:
            if self.let <= 0:
                self.waiting += 1
                while self.held == held:  # noqa: ASYNC110 - the test sets it from its thread
                    await asyncio.sleep(0.02)
                await PlainTextResponse("", 503)(scope, receive, send)
                return
            self.let -= 1
        self.inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.inside -= 1


@dataclass
class Workers:
    """Workers as they are started and killed, over peers behind a gate."""

    bench: Bench | EvalBench
    gate: Gate
    url: str
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self) -> None:
        peers = {f"FINEPROOF_EVALUATOR_{n}_URL": self.url for n in ("RETRIEVER", "GENERATOR")}
        told = {"FINEPROOF_EVALUATOR_TRAINER_URL": self.url}
        patient = {"FINEPROOF_EVALUATOR_ANSWER_PATIENCE_S": "600"}
        self.workers.append(
            subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "services.evaluator.worker", "worker"),
                    *("--pool", "solo", "--loglevel", "ERROR"),
                ],
                env=environment(self.bench.settings) | peers | told | patient,
            )
        )

    def kill_worker(self) -> None:
        """As the kernel would; its lease is over at once, which saves the test half a minute."""
        self.workers[-1].kill()
        self.workers[-1].wait()
        self.gate.held = None
        over = datetime.now(UTC) - timedelta(seconds=1)
        with self.bench.db.transaction() as session:
            for table in (models.Experiment, RunRow):
                session.execute(update(table).values(lease_expires_at=over))


W = TypeVar("W", bound=Workers)


class Workshop(Workers):
    """Those that experiments are worked on by."""

    bench: Bench

    def phase(self) -> str:
        return self.bench.find().phase

    def kept(self) -> tuple[int, int]:
        """Answers, and what models said for whomever, as far as they are committed."""
        with self.bench.db.transaction() as session:
            answers, said = (
                session.scalar(select(func.count()).select_from(table)) or 0
                for table in (models.Answer, models.Cached)
            )
        return answers, said

    def wait_until_held(self) -> None:
        """Until requests are held, and all that was answered before them is kept."""
        wait_for(lambda: self.gate.waiting and not self.gate.inside)
        answered, judged = (of.total() for of in (self.bench.world.answered, self.forms))
        wait_for(lambda: self.kept()[0] == answered and self.kept()[1] >= answered + judged)
        before = None
        while (now := self.kept()) != before:  # a judge's steps are counted nowhere
            before = now
            time.sleep(1.5)

    @property
    def forms(self) -> Counter[str]:
        return self.bench.world.judge.forms


def workshop_of(bench: Bench) -> AbstractContextManager[Workshop]:
    world = bench.world
    peers = generator_app(world), retriever_app(world), trainer_app(world)
    return over(*peers, of=partial(Workshop, bench))


@contextmanager
def over(*peers: FastAPI, of: Callable[[Gate, str], W]) -> Iterator[W]:
    app = FastAPI()
    for peer in peers:
        app.router.routes.extend(peer.router.routes)
        app.exception_handlers.update(peer.exception_handlers)
    gate, port = Gate(app), free_port()
    config = uvicorn.Config(gate, host="127.0.0.1", port=port, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    made = of(gate, f"http://127.0.0.1:{port}")
    yield made
    for worker in made.workers:
        worker.kill()
        worker.wait()
    gate.held = None
    server.should_exit = server.force_exit = True
    thread.join(10)
