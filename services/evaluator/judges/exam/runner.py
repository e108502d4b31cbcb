"""Runs one exam to its end, from wherever an earlier worker left it."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog
from sqlalchemy.orm import Session

from services.common import leases
from services.common.contracts.exam import ExamCreate
from services.common.db import Database
from services.common.errors import FineproofError
from services.evaluator.concurrency import Concurrency
from services.evaluator.judges.asking import Asking
from services.evaluator.judges.exam import storage
from services.evaluator.judges.exam.bar import shortfalls
from services.evaluator.judges.exam.building import build
from services.evaluator.judges.exam.models import ExamRow
from services.evaluator.judges.exam.service import Outcome, items_of
from services.evaluator.judges.exam.sitting import Told, sit
from services.evaluator.judges.meeting import meet
from services.evaluator.judges.memory import remembering, writing
from services.evaluator.peers import ConnectPeers, Peers
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.turns import ACTIVE, Pace, Turn, spend

log = structlog.get_logger(__name__)


async def run_exam(
    exam_id: str, *, db: Database, settings: EvaluatorSettings, connect: ConnectPeers
) -> None:
    """Take the exam if nobody has it, and have it sat.

    Returns quietly when another worker has it, when it is finished, and when it is cancelled on the
    way. What the judge has answered is remembered: a worker that follows asks for the rest.
    """
    turn = Turn(db=db, table=ExamRow, row_id=exam_id, owner=leases.this_worker())
    row = _take(turn)
    if row is None:
        return
    with structlog.contextvars.bound_contextvars(exam=exam_id):
        async with connect(settings) as peers:
            await spend(turn, _work(turn, row, peers, settings), partial(_fail, exam_id))


def _take(turn: Turn) -> ExamRow | None:
    with turn.db.transaction() as session:
        if not leases.claim(session, ExamRow, turn.row_id, owner=turn.owner, statuses=ACTIVE):
            return None
        return storage.find(session, turn.row_id)


def _work(
    turn: Turn, row: ExamRow, peers: Peers, settings: EvaluatorSettings
) -> Callable[[], Awaitable[None]]:
    async def work() -> None:
        if row.attempts > settings.max_attempts:
            raise FineproofError(
                f"Given up after {settings.max_attempts} workers died on it.",
                code="too_many_attempts",
            )
        await _sit(turn, ExamCreate.model_validate(row.spec), peers, settings)

    return work


async def _sit(turn: Turn, ask: ExamCreate, peers: Peers, settings: EvaluatorSettings) -> None:
    set_fields = partial(storage.set_fields, exam_id=turn.row_id)
    await turn.write(partial(set_fields, status="in_progress"))
    items = await items_of(ask.file_id, peers, most=settings.max_items)
    paper = await asyncio.to_thread(build, items, seed=ask.seed, max_items=ask.max_items)
    asking = Asking(
        peers.models,
        Concurrency(start=settings.answer_concurrency, most=settings.max_concurrency),
        settings.answer_patience_s,
    )
    async with remembering(writing(turn.db)) as memory:
        judge = await meet(ask.judge, asking, memory)
        total = len(paper.answers) * len(judge.criteria)
        adapter = judge.served_by.adapter_sha256
        await turn.write(partial(set_fields, done=0, total=total, adapter_sha256=adapter))
        sitting = await sit(
            judge, paper, sat_for=turn.row_id, write=turn.write, told=_telling(turn, total)
        )
    reasons = shortfalls(sitting.figures, ask.bar, sitting.scales)
    outcome = Outcome(
        exam_sha256=paper.sha256,
        judge_sha256=sitting.judge_sha256,
        items=len({answer.item_id for answer in paper.answers}),
        documents=len({answer.cluster for answer in paper.answers}),
        figures=sitting.figures,
        qualified=not reasons,
        reasons=reasons,
        same_as=sitting.same_as,
    )
    await turn.write(
        partial(
            storage.end,
            exam_id=turn.row_id,
            status="completed",
            done=total,
            outcome=outcome.model_dump(mode="json"),
        )
    )
    log.info("exam_completed", model=ask.model, qualified=outcome.qualified)


def _telling(turn: Turn, total: int) -> Told:
    pace = Pace(done=0, total=total)

    async def told(done: int) -> None:
        pace.done = done
        left = pace.seconds_left()
        await turn.write(
            partial(storage.set_fields, exam_id=turn.row_id, done=done, seconds_left=left)
        )

    return told


def _fail(exam_id: str, session: Session, code: str, message: str) -> None:
    storage.end(session, exam_id, "failed", error={"code": code, "message": message})
