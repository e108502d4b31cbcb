"""Runs one run of an eval to its end, from wherever an earlier worker left it."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog
from pydantic import TypeAdapter
from sqlalchemy.orm import Session

from services.common import leases
from services.common.db import Database
from services.common.errors import FineproofError, UpstreamFailed
from services.evaluator import cache
from services.evaluator.cache import ServedBy
from services.evaluator.concurrency import Concurrency
from services.evaluator.evals import storage
from services.evaluator.evals.asking import Asker, find_served
from services.evaluator.evals.endings import end
from services.evaluator.evals.grading.grades import AnyGrader, Means
from services.evaluator.evals.grading.sandbox import sandbox_at
from services.evaluator.evals.item_schema import schema_of
from services.evaluator.evals.items import ReadItem, read_lines
from services.evaluator.evals.models import OutputItemRow, RunRow
from services.evaluator.evals.naming import models_of
from services.evaluator.evals.outcomes import Outcome, Source, outcome_of
from services.evaluator.evals.schemas import (
    DataSource,
    DataSourceConfig,
    FileId,
    Json,
)
from services.evaluator.evals.tally import Tally
from services.evaluator.metrics.similarity import Similarity
from services.evaluator.peers import ConnectPeers, Peers, patiently
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.turns import LeaseLost, Turn, spend

log = structlog.get_logger(__name__)

ITEMS_AT_ONCE = 200  # read in one transaction
OUTCOMES_AT_ONCE = 32  # kept in one transaction
KEEP_SECONDS = 1.0  # after which answers are kept whose grading goes on

CONFIG: TypeAdapter[DataSourceConfig] = TypeAdapter(DataSourceConfig)
CRITERIA: TypeAdapter[list[AnyGrader]] = TypeAdapter(list[AnyGrader])
SOURCE: TypeAdapter[DataSource] = TypeAdapter(DataSource)


@dataclass(frozen=True)
class Work:
    """A run as it was asked for, in this worker's turn."""

    turn: Turn
    peers: Peers
    settings: EvaluatorSettings
    config: DataSourceConfig
    criteria: Sequence[AnyGrader]
    source: Source
    tally: Tally
    items: int | None
    served: Json | None

    @property
    def run_id(self) -> str:
        return self.turn.row_id


async def run_eval(
    run_id: str,
    *,
    db: Database,
    settings: EvaluatorSettings,
    connect: ConnectPeers,
) -> None:
    """Take the run if nobody has it, and go on to its end.

    Returns quietly when another worker has it, when it is finished, and when it is canceled on
    the way. What fails it for good is written into its ``error``; a database that stays away is
    raised, and the next worker goes on once the lease has run out.
    """
    turn = Turn(db=db, table=RunRow, row_id=run_id, owner=leases.this_worker())
    with db.transaction() as session:
        if not leases.claim(session, RunRow, run_id, owner=turn.owner, statuses=storage.ACTIVE):
            return
    with structlog.contextvars.bound_contextvars(eval_run=run_id):
        async with connect(settings) as peers:

            async def work() -> None:
                await _all_of(_work_of(turn, peers, settings))

            await spend(
                turn,
                work,
                lambda session, code, message: end(
                    session,
                    run_id,
                    "failed",
                    settings.webhooks,
                    error={"code": code, "message": message},
                ),
            )


def _work_of(turn: Turn, peers: Peers, settings: EvaluatorSettings) -> Work:
    with turn.db.transaction() as session:
        run, of = storage.run_of(session, turn.row_id)
    if run.attempts > settings.max_attempts:
        raise FineproofError(
            f"Given up after {settings.max_attempts} workers died on it.", code="too_many_attempts"
        )
    criteria = CRITERIA.validate_python(of.criteria)
    return Work(
        turn=turn,
        peers=peers,
        settings=settings,
        config=CONFIG.validate_python(of.config),
        criteria=criteria,
        source=SOURCE.validate_python(run.data_source),
        tally=Tally.load(run.tally, [criterion.name for criterion in criteria]),
        items=run.items,
        served=run.served,
    )


async def _all_of(work: Work) -> None:
    await work.turn.write(
        lambda session: storage.set_fields(session, work.run_id, status="in_progress")
    )
    if work.items is None:
        await patiently(partial(_read, work), seconds=work.settings.answer_patience_s)
    asker = Asker(
        work.turn.db,
        work.peers,
        await _served(work),
        concurrency=Concurrency(
            start=work.settings.answer_concurrency, most=work.settings.max_concurrency
        ),
        patience_s=work.settings.answer_patience_s,
    )
    model = work.settings.embedding_model
    async with sandbox_at(work.settings.python_sandbox_url) as sandbox:
        means = Means(asker, Similarity(model) if model else None, sandbox)
        await _Grading(work, asker, means).all_items()
    await work.turn.write(
        lambda session: end(session, work.run_id, "completed", work.settings.webhooks)
    )
    log.info("completed", **work.tally.counts.model_dump())


async def _served(work: Work) -> dict[str, ServedBy]:
    """The weights under each name, kept with the run at its first turn; ``adapter_mismatch`` where
    a name has come to mean others since: half of the items would be theirs."""
    served = await find_served(
        models_of(work.criteria, work.source),
        work.peers,
        patience_s=work.settings.answer_patience_s,
    )
    found = {name: each.adapter_sha256 for name, each in served.items()}
    if work.served is None:
        await work.turn.write(
            lambda session: storage.set_fields(session, work.run_id, served=found)
        )
    elif others := [name for name in found if found[name] != work.served.get(name)]:
        began = work.served.get(others[0])
        raise UpstreamFailed(
            f"'{others[0]}' is {found[others[0]] or 'a base model'} now, but the run began with "
            f"{began or 'a base model'}.",
            code="adapter_mismatch",
        )
    return served


async def _read(work: Work) -> None:
    """Bring a file's items in; those that an earlier turn or try brought are there already."""
    source = work.source.source
    assert isinstance(source, FileId), "an inline source comes with its items"
    schema = schema_of(work.config)
    read = 0
    batch: list[ReadItem] = []

    async def keep() -> None:
        await work.turn.write(lambda session: storage.add_items(session, work.run_id, batch))
        batch.clear()

    async with work.peers.trainer.file_lines(source.id) as lines:
        async for item in read_lines(lines, schema):
            batch.append(item)
            read += 1
            if read > work.settings.max_items:
                raise FineproofError(
                    f"A run has at most {work.settings.max_items} items.", code="too_many_items"
                )
            if len(batch) == ITEMS_AT_ONCE:
                await keep()
    if batch:
        await keep()
    await work.turn.write(lambda session: storage.set_fields(session, work.run_id, items=read))


class _Grading:
    """Items go from a planner to graders, outcomes from them to a keeper, through two queues."""

    def __init__(self, work: Work, asker: Asker, means: Means) -> None:
        self.work = work
        self.asker = asker
        self.means = means
        self.at_once = work.settings.max_concurrency
        self.items: asyncio.Queue[OutputItemRow | None] = asyncio.Queue(self.at_once)
        self.outcomes: asyncio.Queue[Outcome | None] = asyncio.Queue(2 * self.at_once)

    async def all_items(self) -> None:
        async with asyncio.TaskGroup() as keeping:
            keeping.create_task(self._keep())
            async with asyncio.TaskGroup() as grading:
                grading.create_task(self._plan())
                for _ in range(self.at_once):
                    grading.create_task(self._grade_on())
            await self.outcomes.put(None)

    async def _plan(self) -> None:
        start = 0
        while page := await self.work.turn.write(
            lambda session: storage.pending(session, self.work.run_id, start, ITEMS_AT_ONCE)  # noqa: B023
        ):
            for row in page:
                await self.items.put(row)
            start = page[-1].ordinal + 1
        for _ in range(self.at_once):
            await self.items.put(None)

    async def _grade_on(self) -> None:
        while (row := await self.items.get()) is not None:
            await self.outcomes.put(await self._outcome(row))

    async def _outcome(self, row: OutputItemRow) -> Outcome:
        work = self.work
        return await outcome_of(row, work.source, work.criteria, self.asker, self.means)

    async def _keep(self) -> None:
        steps: list[Callable[[Session], None]] = []
        writing: asyncio.Task[None] | None = None
        try:
            while True:
                batch, ended = await self._gather()
                if batch or self.asker.has_fresh:
                    steps = [self._step(batch)]
                    writing = asyncio.create_task(self.work.turn.write(steps[0]))
                    await asyncio.shield(writing)
                if ended:
                    return
        except asyncio.CancelledError:
            if writing is not None:
                await asyncio.wait([writing])
                if writing.exception() is None:
                    steps = []
            # What is answered was paid for: keep it, so that the next turn need not ask again. Its
            # counts are on top of those of a step that failed, which is taken again before it.
            steps.append(self._step(self._rest()))
            with contextlib.suppress(LeaseLost):
                for step in steps:
                    self.work.turn.write_now(step)
            raise

    async def _gather(self) -> tuple[list[Outcome], bool]:
        """An outcome and those that came with it, for one transaction; True after the last. None
        where none comes for a while: a judge may take minutes for what is answered already."""
        batch: list[Outcome] = []
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                outcome = await self.outcomes.get()
        except TimeoutError:
            return batch, False
        while outcome is not None:
            batch.append(outcome)
            if len(batch) == OUTCOMES_AT_ONCE or self.outcomes.empty():
                return batch, False
            outcome = self.outcomes.get_nowait()
        return batch, True

    def _rest(self) -> list[Outcome]:
        rest = []
        while not self.outcomes.empty():
            if (outcome := self.outcomes.get_nowait()) is not None:
                rest.append(outcome)
        return rest

    def _step(self, batch: list[Outcome]) -> Callable[[Session], None]:
        for outcome in batch:
            self.work.tally.add(outcome.status, outcome.row["results"], outcome.asked)
        tally, fresh = self.work.tally.dump(), self.asker.take_fresh()

        def step(session: Session) -> None:
            if batch:
                storage.write_outcomes(session, [outcome.row for outcome in batch])
                storage.set_fields(session, self.work.run_id, tally=tally)
            cache.put_many(session, fresh)

        return step
