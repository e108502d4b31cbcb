"""One worker's turn at one experiment: its lease, its peers, and how it writes."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from tenacity import Retrying, retry_if_exception_type, stop_after_delay
from tenacity.wait import wait_random_exponential

from services.common import leases
from services.common.contracts.evaluator import ExperimentCreate
from services.common.db import Database
from services.common.storage import ArtifactStore
from services.evaluator import storage
from services.evaluator.models import Experiment
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings

T = TypeVar("T")


class LeaseLost(Exception):
    """The experiment was cancelled, or another worker has it: write nothing more."""


@dataclass(frozen=True)
class Run:
    """What the phases share. ``spec`` is fixed for the life of the experiment."""

    experiment_id: str
    created_at: int
    name: str
    spec: ExperimentCreate
    dataset_sha256: str
    owner: str
    db: Database
    peers: Peers
    artifacts: ArtifactStore
    settings: EvaluatorSettings

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A transaction that commits only while the lease is ours."""
        with self.db.transaction() as session:
            if not leases.renew(
                session, Experiment, self.experiment_id, owner=self.owner, statuses=storage.ACTIVE
            ):
                raise LeaseLost
            yield session

    def write_now(self, step: Callable[[Session], T]) -> T:
        """Do ``step``, which must be safe to repeat, in one transaction of ours."""
        for attempt in Retrying(
            retry=retry_if_exception_type(OperationalError),
            stop=stop_after_delay(leases.LEASE.total_seconds() / 2),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        ):
            with attempt, self.transaction() as session:
                return step(session)
        raise AssertionError("unreachable: tenacity reraises")

    async def write(self, step: Callable[[Session], T]) -> T:
        """As :meth:`write_now`, beside the event loop."""
        return await asyncio.to_thread(self.write_now, step)

    async def enter(self, phase: str, *, done: int, total: int) -> None:
        await self.write(
            lambda session: storage.set_fields(
                session,
                self.experiment_id,
                status="in_progress",
                phase=phase,
                done=done,
                total=total,
                seconds_left=None,
            )
        )


class Pace:
    """Seconds left at the pace measured since it was made; done before that does not count."""

    def __init__(self, *, done: int, total: int) -> None:
        self.done = done
        self.total = total
        self._before = done
        self._started = self._marked = time.monotonic()

    def seconds_left(self) -> float | None:
        made = self.done - self._before
        if not made:
            return None
        spent = time.monotonic() - self._started
        return round(spent / made * (self.total - self.done), 1)

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.monotonic()
        self._marked, last = now, self._marked
        return now - last
