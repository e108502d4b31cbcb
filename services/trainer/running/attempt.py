"""One worker's go at one job: its lease while the work goes on, and the ways it can end."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog
from sqlalchemy.orm import Session

from services.common.db import Database, after_commit
from services.common.errors import FineproofError, Unavailable, UpstreamTimeout
from services.common.leases import Heartbeat
from services.common.storage import ArtifactStore
from services.trainer import storage
from services.trainer.endings import finish
from services.trainer.models import Job
from services.trainer.preparing.findings import JobFailed
from services.trainer.running.turns import HELD, TO_VALIDATE, let_go
from services.trainer.settings import TrainerSettings
from services.trainer.storage import UNFINISHED
from services.trainer.training.config import Failure

log = structlog.get_logger(__name__)

LONGEST_WAIT = timedelta(minutes=15)


class NotOurs(Exception):
    """The job was cancelled, or another worker has it: stop, and write nothing."""


class PutDown(Exception):
    """The job was paused, or the worker is ending: stop, and leave the job to be taken up."""


class Setback(Exception):
    """What went wrong may not go wrong again: let a worker try later, a bounded number of times.

    ``bounded`` is false where giving up would throw away a trained adapter.
    """

    def __init__(self, failure: Failure, *, bounded: bool = True) -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.bounded = bounded


@dataclass(frozen=True)
class Workshop:
    """What a worker process works with.

    ``wake`` tells the workers that there may be something to do, and may fail; ``stopping`` says
    that this worker was asked to end.
    """

    settings: TrainerSettings
    db: Database
    store: ArtifactStore
    wake: Callable[[], object]
    stopping: Callable[[], bool]

    @property
    def lease(self) -> timedelta:
        return timedelta(seconds=self.settings.lease_seconds)


@contextmanager
def in_hand(
    shop: Workshop, job_id: str, owner: str, statuses: Sequence[str]
) -> Iterator["Attempt"]:
    """Keep the lease while the work goes on, write down how it ended, and let go.

    On an error nobody foresaw the lease stays until it runs out: that is the wait before the next
    attempt.
    """
    with Heartbeat(
        shop.db, Job, job_id, owner=owner, statuses=statuses, lease=shop.lease
    ) as heartbeat:
        attempt = Attempt(shop, job_id, owner, lost=heartbeat.lost.is_set)
        wait = None
        try:
            yield attempt
        except NotOurs:
            log.info("job_left", job=job_id)
        except PutDown as reason:
            attempt.put_down(str(reason))
        except JobFailed as failed:
            attempt.fail(failed.failure)
        except Setback as setback:
            wait = attempt.set_back(setback)
        except (Unavailable, UpstreamTimeout) as away:
            wait = attempt.set_back(Setback(_failure(away)))
        except FineproofError as refused:
            attempt.fail(_failure(refused))
    with shop.db.transaction() as session:
        let_go(session, job_id, owner=owner, after=wait)
        after_commit(session, shop.wake)


def _failure(error: FineproofError) -> Failure:
    return Failure(code=error.code, message=error.message, param=error.param)


class Attempt:
    def __init__(
        self, shop: Workshop, job_id: str, owner: str, *, lost: Callable[[], bool]
    ) -> None:
        self.shop = shop
        self.job_id = job_id
        self.owner = owner
        self.lost = lost

    def ours(self, session: Session, statuses: Sequence[str] = UNFINISHED) -> Job:
        """The job, locked. Raises ``NotOurs``."""
        job = storage.lock_job(session, self.job_id)
        if job is None or job.lease_owner != self.owner or job.status not in statuses:
            raise NotOurs
        return job

    def check(self) -> None:
        """Raises ``NotOurs``, ``PutDown``."""
        if self.lost():
            raise NotOurs
        if self.shop.stopping():
            raise PutDown("The worker is ending; another will go on.")

    def fail(self, failure: Failure) -> None:
        with self.shop.db.transaction() as session:
            try:
                job = self.ours(session)
            except NotOurs:
                return
            finish(session, job, "failed", self.shop.settings.webhooks)
            job.error = failure.model_dump()
            storage.add_event(session, job, failure.message, level="error")

    def set_back(self, setback: Setback) -> timedelta | None:
        """How long others keep off the job; None when it has failed for good."""
        with self.shop.db.transaction() as session:
            try:
                job = self.ours(session, HELD + TO_VALIDATE)
            except NotOurs:
                return None
            if not setback.bounded or job.attempts < self.shop.settings.max_attempts:
                doubled = self.shop.lease * 2 ** min(job.attempts - 1, 10)
                wait = LONGEST_WAIT if doubled > LONGEST_WAIT else doubled
                again = f"The job will be tried again in {wait.total_seconds():.0f} seconds."
                storage.add_event(session, job, f"{setback.failure.message} {again}", level="warn")
                job.estimated_finish = None
                return wait
        self.fail(setback.failure)
        return None

    def put_down(self, reason: str) -> None:
        with self.shop.db.transaction() as session:
            try:
                job = self.ours(session, HELD + TO_VALIDATE)
            except NotOurs:
                return
            storage.add_event(session, job, reason)
            job.attempts, job.estimated_finish = 0, None
