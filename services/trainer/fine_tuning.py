"""One job from claim to adapter, in a worker: validated, rendered, trained, published.

Whatever kills the worker on the way, the lease runs out, the sweeper sends the job again, and the
next worker goes on: prompts rendered are kept, training resumes from its last complete checkpoint,
an adapter that is trained but not registered is registered.
"""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy.exc
import structlog
from sqlalchemy.orm import Session

from services.common.contracts.trainer import Method, Supervised
from services.common.db import Database
from services.common.errors import FineproofError, Unavailable, UpstreamTimeout
from services.common.leases import Heartbeat, claim, release, this_worker
from services.common.storage import ArtifactStore
from services.trainer import storage
from services.trainer.launch import TrainingProcess, explain
from services.trainer.models import Job
from services.trainer.preparation import JobFailed, Prepared, Sources, prepare
from services.trainer.publication import register, upload
from services.trainer.settings import TrainerSettings
from services.trainer.storage import UNFINISHED
from services.trainer.training.config import Failure, RunFolder
from services.trainer.training.progress import Line, Lines, StepMetrics

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5


class NotOurs(Exception):
    """The job was cancelled, or another worker has it: stop, and write nothing."""


@dataclass(frozen=True)
class Workshop:
    """What a worker process works with."""

    settings: TrainerSettings
    db: Database
    store: ArtifactStore


def fine_tune(shop: Workshop, job_id: str) -> None:
    """Do the job, unless it is finished, cancelled or in another worker's hands."""
    owner = this_worker()
    with shop.db.transaction() as session:
        if not claim(session, Job, job_id, owner=owner, statuses=UNFINISHED):
            return
    with Heartbeat(shop.db, Job, job_id, owner=owner, statuses=UNFINISHED) as heartbeat:
        run = _Run(shop, job_id, owner, lost=heartbeat.lost.is_set)
        try:
            run.work()
        except NotOurs:
            log.info("job_left", job=job_id)
        except JobFailed as failed:
            run.fail(failed.failure)
        except (Unavailable, UpstreamTimeout) as away:
            run.give_back(away)
        except FineproofError as refused:
            run.fail(Failure(code=refused.code, message=refused.message, param=refused.param))


class _Run:
    """One worker's go at one job."""

    def __init__(
        self, shop: Workshop, job_id: str, owner: str, *, lost: Callable[[], bool]
    ) -> None:
        self.shop = shop
        self.job_id = job_id
        self.owner = owner
        self.lost = lost
        # Absolute: the training process must find it from anywhere.
        self.folder = RunFolder(Path(shop.settings.work_dir).absolute() / job_id)

    def work(self) -> None:
        with self.shop.db.transaction() as session:
            job = self._ours(session)
            ids = [job.training_file, *([job.validation_file] if job.validation_file else [])]
            files = {key: file for key in ids if (file := storage.get_file(session, key))}
        if job.attempts > self.shop.settings.max_attempts:
            raise JobFailed(
                Failure(
                    code="too_many_attempts",
                    message=f"The job was taken up {job.attempts - 1} times and never finished; "
                    "its workers died or could not reach the retriever.",
                )
            )
        if not self.folder.result.exists():
            sources = Sources(self.shop.settings, self.shop.store, self._check)
            self._prepared(prepare(sources, self.folder, job, files), resumed=job.attempts > 1)
            self._train()
        published = upload(self.shop.store, self.folder, job)
        with self.shop.db.transaction() as session:
            dataset_sha256 = files[job.training_file].sha256
            register(session, self._ours(session), published, dataset_sha256=dataset_sha256)
        shutil.rmtree(self.folder.checkpoints, ignore_errors=True)

    def fail(self, failure: Failure) -> None:
        with self.shop.db.transaction() as session:
            try:
                job = self._ours(session)
            except NotOurs:
                return
            job.status, job.finished_at, job.estimated_finish = "failed", storage.now(), None
            job.error = failure.model_dump()
            storage.add_event(session, job, failure.message, level="error")

    def give_back(self, away: FineproofError) -> None:
        """A peer is away: the sweeper sends the job again, to a bounded number of attempts."""
        with self.shop.db.transaction() as session:
            job = self._ours(session)
            storage.add_event(
                session, job, f"{away.message} The job will be tried again.", level="warn"
            )
            release(session, Job, self.job_id, owner=self.owner)

    def _ours(self, session: Session) -> Job:
        """The job, locked. Raises ``NotOurs``."""
        job = storage.lock_job(session, self.job_id)
        if job is None or job.lease_owner != self.owner or job.status not in UNFINISHED:
            raise NotOurs
        return job

    def _check(self) -> None:
        if self.lost():
            raise NotOurs

    def _prepared(self, prepared: Prepared, *, resumed: bool) -> None:
        with self.shop.db.transaction() as session:
            job = self._ours(session)
            supervised = Supervised(hyperparameters=prepared.hyperparameters)
            job.method = Method(supervised=supervised).model_dump(mode="json")
            if resumed:
                storage.add_event(session, job, "A worker was lost; the job goes on.", level="warn")
            if job.status == "validating_files":
                job.status = "queued"
                storage.add_event(
                    session, job, f"Files validated: {prepared.examples} examples. Job queued."
                )
                if prepared.without_passages:
                    storage.add_event(
                        session,
                        job,
                        f"{prepared.without_passages} prompts have no passages: the retriever "
                        "returned none.",
                        level="warn",
                    )

    def _train(self) -> None:
        """Run the training process to its end. Raises ``JobFailed``, ``NotOurs``."""
        self._check()
        self.folder.failure.unlink(missing_ok=True)
        lines = Lines(self.folder.metrics)
        old = lines.read()  # of the process of a worker that died
        base = self.shop.settings.base_models[self._started(old).model]
        process = TrainingProcess(
            self.folder, self.shop.settings.launch_arguments, offline=Path(base).is_dir()
        )
        try:
            while process.is_running:
                time.sleep(LOOK_SECONDS)
                self._check()
                self._record(lines.read())
            self._record(lines.read())
        finally:
            status = process.close()
        if not self.folder.result.exists():
            raise JobFailed(explain(self.folder, status))

    def _started(self, old: list[Line]) -> Job:
        with self.shop.db.transaction() as session:
            job = self._ours(session)
            if job.status != "running":
                job.status = "running"
                storage.add_event(session, job, "Fine-tuning job started.")
            _add_metrics(session, job, old)
        return job

    def _record(self, lines: list[Line]) -> None:
        """Turn what the process said into events; waits while the database is away."""
        while lines:
            try:
                with self.shop.db.transaction() as session:
                    job = self._ours(session)
                    for line in lines:
                        if not isinstance(line, StepMetrics):
                            storage.add_event(session, job, line.message, level=line.level)
                    _add_metrics(session, job, lines)
            except sqlalchemy.exc.OperationalError as away:
                log.warning("events_wait", job=self.job_id, error=str(away.__cause__))
                self._check()
                time.sleep(LOOK_SECONDS)
            else:
                return


def _add_metrics(session: Session, job: Job, lines: list[Line]) -> None:
    """Metrics of steps not yet recorded: a resumed run repeats those after its checkpoint."""
    for line in lines:
        if not isinstance(line, StepMetrics):
            continue
        if line.step > job.step or (line.valid_loss is not None and line.step == job.step):
            data = line.model_dump(exclude={"kind", "seconds_left"}, exclude_none=True)
            loss = "" if line.train_loss is None else f": training loss={line.train_loss:.4f}"
            if line.valid_loss is not None:
                loss = f": validation loss={line.valid_loss:.4f}"
            storage.add_event(session, job, f"Step {line.step}/{line.total_steps}{loss}", data=data)
            job.step, job.total_steps = line.step, line.total_steps
        if line.seconds_left is not None:
            left = timedelta(seconds=line.seconds_left)
            job.estimated_finish = storage.now() + left
