"""Runs one experiment to its end, from wherever an earlier worker left it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from sqlalchemy.exc import OperationalError

from services.common import leases
from services.common.contracts.evaluator import ExperimentCreate
from services.common.db import Database
from services.common.errors import FineproofError
from services.common.leases import Heartbeat
from services.common.storage import ArtifactStore
from services.evaluator import storage
from services.evaluator.models import Experiment
from services.evaluator.peers import ConnectPeers, Peers
from services.evaluator.phases.answering import answer
from services.evaluator.phases.measuring import measure
from services.evaluator.phases.proving import prove
from services.evaluator.phases.retrieving import retrieve
from services.evaluator.run import LeaseLost, Run
from services.evaluator.settings import EvaluatorSettings

log = structlog.get_logger(__name__)

_LOOK_SECONDS = 0.2  # how often the work looks whether its lease is still there


async def run_experiment(
    experiment_id: str,
    *,
    db: Database,
    artifacts: ArtifactStore,
    settings: EvaluatorSettings,
    connect: ConnectPeers,
) -> None:
    """Take the experiment if nobody has it, and go on to its report.

    Returns quietly when another worker has it, when it is finished, and when it is cancelled on
    the way. What fails it for good is written into its ``error``; a database that stays away is
    raised, and the next worker goes on once the lease has run out.
    """
    owner = leases.this_worker()
    experiment = _take(db, experiment_id, owner)
    if experiment is None:
        return
    with structlog.contextvars.bound_contextvars(experiment=experiment_id):
        async with connect(settings) as peers:
            run = _run_of(experiment, owner, db, artifacts, settings, peers)
            with Heartbeat(
                db, Experiment, experiment_id, owner=owner, statuses=storage.ACTIVE
            ) as beat:
                try:
                    if experiment.attempts > settings.max_attempts:
                        raise FineproofError(
                            f"Given up after {settings.max_attempts} workers died on it.",
                            code="too_many_attempts",
                        )
                    async with _stopped_by(beat.lost.is_set):
                        await _all_phases(run)
                except BaseException as error:
                    _settle(run, _cause(error))


async def _all_phases(run: Run) -> None:
    arms = await prove(run)
    items = await retrieve(run)
    await answer(run, arms, items)
    report = await measure(run, arms)
    log.info("completed", headline=report.headline)


def _take(db: Database, experiment_id: str, owner: str) -> Experiment | None:
    with db.transaction() as session:
        if not leases.claim(
            session, Experiment, experiment_id, owner=owner, statuses=storage.ACTIVE
        ):
            return None
        return storage.find(session, experiment_id)


def _run_of(
    row: Experiment,
    owner: str,
    db: Database,
    artifacts: ArtifactStore,
    settings: EvaluatorSettings,
    peers: Peers,
) -> Run:
    return Run(
        experiment_id=row.id,
        created_at=int(row.created_at.timestamp()),
        name=row.name,
        spec=ExperimentCreate.model_validate(row.spec),
        dataset_sha256=row.dataset_sha256,
        owner=owner,
        db=db,
        peers=peers,
        artifacts=artifacts,
        settings=settings,
    )


@asynccontextmanager
async def _stopped_by(lost: Callable[[], bool]) -> AsyncIterator[None]:
    """Cancel the body once ``lost()`` says so; ``LeaseLost`` comes out of it then."""
    body = asyncio.current_task()
    assert body is not None

    async def look() -> None:
        # It is a thread's event that tells, and waiting for it would hold another thread.
        while not lost():  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_SECONDS)
        body.cancel()

    looking = asyncio.create_task(look())
    try:
        yield
    except asyncio.CancelledError:
        if looking.done() and lost():
            body.uncancel()
            raise LeaseLost from None
        raise
    finally:
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking


def _cause(error: BaseException) -> BaseException:
    """The first error inside the groups that concurrent work raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _settle(run: Run, error: BaseException) -> None:
    """Write down why it ended, when that is for us to say."""
    if isinstance(error, LeaseLost):
        log.info("stopped", reason="cancelled, or taken by another worker")
        return
    if isinstance(error, FineproofError):
        log.warning("failed", code=error.code, reason=error.message)
        with contextlib.suppress(LeaseLost):
            _fail(run, error.code, error.message)
        return
    if not isinstance(error, Exception):
        # Stopped from outside: the next worker may go on at once.
        _release(run)
        raise error
    if isinstance(error, OperationalError):
        raise error
    log.error("failed", exc_info=error)
    with contextlib.suppress(LeaseLost):
        _fail(run, "internal_error", "Something went wrong on our side; the log has the details.")


def _fail(run: Run, code: str, message: str) -> None:
    run.write_now(
        lambda session: storage.set_fields(
            session,
            run.experiment_id,
            status="failed",
            finished_at=datetime.now(UTC),
            seconds_left=None,
            error={"code": code, "message": message.replace("\x00", "\ufffd")},
            lease_owner=None,
            lease_expires_at=None,
        )
    )


def _release(run: Run) -> None:
    with run.db.transaction() as session:
        leases.release(session, Experiment, run.experiment_id, owner=run.owner)
