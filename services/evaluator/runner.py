"""Runs one experiment to its end, from wherever an earlier worker left it."""

from datetime import UTC, datetime

import structlog

from services.common import leases
from services.common.contracts.evaluator import ExperimentCreate
from services.common.db import Database
from services.common.errors import FineproofError
from services.common.storage import ArtifactStore
from services.evaluator import cache, storage
from services.evaluator.concurrency import Concurrency
from services.evaluator.metrics.similarity import Similarity
from services.evaluator.models import Experiment
from services.evaluator.peers import ConnectPeers, Peers
from services.evaluator.phases.answering import answer
from services.evaluator.phases.forgetting import recall
from services.evaluator.phases.judging import judge
from services.evaluator.phases.measuring import measure
from services.evaluator.phases.proving import prove
from services.evaluator.phases.retrieving import retrieve
from services.evaluator.phases.tuning import tune
from services.evaluator.run import Run
from services.evaluator.settings import EvaluatorSettings
from services.evaluator.turns import Fail, Turn, spend

log = structlog.get_logger(__name__)


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
    turn = Turn(db=db, table=Experiment, row_id=experiment_id, owner=owner)

    async def work() -> None:
        if experiment.attempts > settings.max_attempts:
            raise FineproofError(
                f"Given up after {settings.max_attempts} workers died on it.",
                code="too_many_attempts",
            )
        await turn.aside(
            lambda session: cache.clean(
                session, days=settings.cache_days, most_bytes=settings.cache_max_bytes
            )
        )
        async with connect(settings) as peers:
            await _phases(_run_of(experiment, owner, db, artifacts, settings, peers))

    with structlog.contextvars.bound_contextvars(experiment=experiment_id):
        await spend(turn, work, _fail(experiment_id))


async def _phases(run: Run) -> None:
    arms = await prove(run, await tune(run))
    items = await retrieve(run)
    await answer(run, arms, items)
    await recall(run, arms)
    await judge(run, items)
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
        table=Experiment,
        row_id=row.id,
        created_at=int(row.created_at.timestamp()),
        name=row.name,
        spec=ExperimentCreate.model_validate(row.spec),
        dataset_sha256=row.dataset_sha256,
        owner=owner,
        db=db,
        peers=peers,
        artifacts=artifacts,
        settings=settings,
        concurrency=Concurrency(start=settings.answer_concurrency, most=settings.max_concurrency),
        similarity=Similarity(settings.embedding_model) if settings.embedding_model else None,
    )


def _fail(experiment_id: str) -> Fail:
    return lambda session, code, message: storage.set_fields(
        session,
        experiment_id,
        status="failed",
        finished_at=datetime.now(UTC),
        seconds_left=None,
        error={"code": code, "message": message},
        lease_owner=None,
        lease_expires_at=None,
    )
