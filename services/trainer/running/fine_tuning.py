"""One job in a worker's hands: validated and rendered, or trained and published.

Whatever kills the worker on the way, the lease runs out, a sweeper wakes the next worker, and that
one goes on: prompts rendered are kept, training resumes from its last complete checkpoint, an
adapter that is trained but not registered is registered.
"""

import math
import shutil
import time
from datetime import timedelta
from pathlib import Path

import sqlalchemy.exc
import structlog
from sqlalchemy.orm import Session

from services.common.contracts.hyperparameters import Method
from services.trainer import storage, trackers
from services.trainer.endings import finish
from services.trainer.models import Job
from services.trainer.preparing.findings import JobFailed
from services.trainer.preparing.inspection import Sources
from services.trainer.preparing.preparation import Prepared, prepare
from services.trainer.running.attempt import Attempt, NotOurs, PutDown, Setback, Workshop, in_hand
from services.trainer.running.halving import halve
from services.trainer.running.launch import DISK_FULL, KILLED, TrainingProcess
from services.trainer.running.publication import register, upload, upload_tensorboard
from services.trainer.running.turns import HELD, TO_VALIDATE
from services.trainer.training.checkpoints import last_checkpoint
from services.trainer.training.config import Failure, RunFolder
from services.trainer.training.progress import Line, Lines, Message, StepMetrics

log = structlog.get_logger(__name__)

LOOK_SECONDS = 0.5


def validate(shop: Workshop, job_id: str, owner: str) -> None:
    """Check and render the files of a job whose lease ``owner`` has, and queue it."""
    with in_hand(shop, job_id, owner, TO_VALIDATE) as attempt:
        _Run(shop, attempt).validate()


def train(shop: Workshop, job_id: str, owner: str, devices: str) -> None:
    """Bring a job whose lease and slot ``owner`` has to its adapter, or as far as it is let."""
    with in_hand(shop, job_id, owner, HELD) as attempt:
        _Run(shop, attempt).train(devices)


class _Run:
    def __init__(self, shop: Workshop, attempt: Attempt) -> None:
        self.shop = shop
        self.attempt = attempt
        # Absolute: the training process must find it from anywhere.
        self.folder = RunFolder(Path(shop.settings.work_dir).absolute() / attempt.job_id)

    def validate(self) -> None:
        self._prepared(self._prepare())

    def train(self, devices: str) -> None:
        if not self.folder.result.exists():
            if not self.folder.config.exists():  # validated on another host
                self._prepare()
            self._train(devices)
        self._publish()

    def _prepare(self) -> Prepared:
        with self.shop.db.transaction() as session:
            job = self.attempt.ours(session)
            files = storage.files_of(session, job)
            device = storage.device(session, job.slot)
            self._bound(job)
        sources = Sources(self.shop.settings, self.shop.store, self.attempt.check, device)
        return prepare(sources, self.folder, job, files)

    def _bound(self, job: Job) -> None:
        """Raises ``JobFailed`` for a job whose workers die one after another."""
        if job.attempts > self.shop.settings.max_attempts:
            raise JobFailed(
                Failure(
                    code="too_many_attempts",
                    message=f"The job was taken up {job.attempts - 1} times and got no further; "
                    "its workers died.",
                )
            )

    def _prepared(self, prepared: Prepared) -> None:
        with self.shop.db.transaction() as session:
            job = self.attempt.ours(session)
            method = Method.of(prepared.hyperparameters)
            job.method = method.model_dump(mode="json", exclude_none=True)
            job.status, job.validated_at, job.attempts = "queued", storage.now(), 0
            storage.add_event(
                session, job, f"Files validated: {prepared.examples} examples. Job queued."
            )
            for finding in prepared.findings:
                storage.add_event(
                    session, job, finding.message, level=finding.level, data=finding.data
                )

    def _train(self, devices: str) -> None:
        """Run the training process to its end. Raises ``JobFailed``, ``NotOurs``, ``PutDown``,
        ``Setback``."""
        self.attempt.check()
        lines = Lines(self.folder.metrics)
        old = lines.read()  # of the process of a worker that died
        settings, job = self.shop.settings, self._started(old)
        process = TrainingProcess(
            self.folder,
            settings.launch_arguments,
            devices=devices,
            offline=Path(settings.base_models[job.model]).is_dir(),
            trackers=trackers.environment(settings, job),
        )
        try:
            reason = self._follow(process, lines)
        finally:
            process.close()
            if not self.folder.result.exists():
                self._show_how_far()
        if self.folder.result.exists():
            return
        if reason is not None:
            saved = last_checkpoint(self.folder.checkpoints, sweep=False)
            step = saved and Path(saved).name.rpartition("-")[2]
            raise PutDown(f"{reason} Step {step} is saved." if step else reason)
        failure = process.failure()
        if failure.code in (KILLED, DISK_FULL):
            raise Setback(failure)
        if not self._halved(failure):
            raise JobFailed(failure)
        self._train(devices)

    def _halved(self, failure: Failure) -> bool:
        with self.shop.db.transaction() as session:
            return halve(session, self.attempt.ours(session), self.folder, failure)

    def _follow(self, process: TrainingProcess, lines: Lines) -> str | None:
        """Watch the process until it ends; why it was asked to, if it was."""
        reason, deadline = None, math.inf
        while process.is_running and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)
            self._record(lines.read())
            if reason is None and (reason := self._why_stop()) is not None:
                process.pause()
                deadline = time.monotonic() + self.shop.settings.pause_seconds
        self._record(lines.read())
        return reason

    def _why_stop(self) -> str | None:
        """Raises ``NotOurs`` as soon as the job is cancelled."""
        if self.attempt.lost():
            raise NotOurs
        if self.shop.stopping():
            return "The worker is ending; another will go on."
        try:
            with self.shop.db.transaction() as session:
                row = storage.get_job(session, self.attempt.job_id)
        except sqlalchemy.exc.OperationalError:
            return None  # the heartbeat knows how long that may last
        if row is None or row.lease_owner != self.attempt.owner or row.status not in HELD:
            raise NotOurs
        # Queued again: it was paused and resumed between two looks.
        return None if row.status == "running" else "Training has paused."

    def _started(self, old: list[Line]) -> Job:
        with self.shop.db.transaction() as session:
            job = self.attempt.ours(session)
            self._bound(job)
            _add_metrics(session, job, old)
        return job

    def _show_how_far(self) -> None:
        """Upload TensorBoard's events of a training without a result, if the store takes them."""
        try:
            upload_tensorboard(self.shop.store, self.folder, self.attempt.job_id)
        except Exception as error:  # fsspec's stores raise what their libraries raise
            log.warning("tensorboard_not_stored", job=self.attempt.job_id, error=repr(error))

    def _publish(self) -> None:
        with self.shop.db.transaction() as session:
            job = self.attempt.ours(session)
            file = storage.get_file(session, job.training_file)
            assert file is not None  # kept from deletion by the unfinished job
        try:
            published = upload(self.shop.store, self.folder, job)
        except Exception as error:  # fsspec's stores raise what their libraries raise
            log.warning("not_published", job=self.attempt.job_id, error=repr(error))
            raise Setback(
                Failure(
                    code="store_unavailable",
                    message="The adapter is trained, and the artifact store did not take it.",
                ),
                bounded=False,
            ) from error
        with self.shop.db.transaction() as session:
            job = self.attempt.ours(session)
            register(session, job, published, dataset_sha256=file.sha256)
            finish(session, job, "succeeded", self.shop.settings.webhooks)
        shutil.rmtree(self.folder.checkpoints, ignore_errors=True)

    def _record(self, lines: list[Line]) -> None:
        """Turn what the process said into events; waits while the database is away."""
        while lines:
            try:
                with self.shop.db.transaction() as session:
                    job = self.attempt.ours(session, HELD)
                    for line in lines:
                        if not isinstance(line, StepMetrics):
                            _add_message(session, job, line)
                    _add_metrics(session, job, lines)
            except sqlalchemy.exc.OperationalError as away:
                log.warning("events_wait", job=self.attempt.job_id, error=str(away.__cause__))
                if self.attempt.lost():
                    raise NotOurs from away
                time.sleep(LOOK_SECONDS)
            else:
                return


def _add_message(session: Session, job: Job, line: Message) -> None:
    """What a process says at its start, the one that resumes says again."""
    if not storage.has_message(session, job.id, line.message):
        storage.add_event(session, job, line.message, level=line.level)


def _is_new_evaluation(session: Session, job: Job, line: StepMetrics) -> bool:
    """Whether the line is the validation after a step that is recorded, itself not recorded."""
    if line.valid_loss is None or line.step != job.step:
        return False
    return not storage.has_validation(session, job.id, line.step)


def _add_metrics(session: Session, job: Job, lines: list[Line]) -> None:
    """Metrics of steps not yet recorded: a resumed run repeats those after its checkpoint."""
    for line in lines:
        if not isinstance(line, StepMetrics):
            continue
        if line.step > job.step:
            job.attempts = 1  # it got further
        if line.step > job.step or _is_new_evaluation(session, job, line):
            data = line.model_dump(exclude={"kind", "seconds_left"}, exclude_none=True)
            loss = "" if line.train_loss is None else f": training loss={line.train_loss:.4f}"
            if line.valid_loss is not None:
                loss = f": validation loss={line.valid_loss:.4f}"
            message = f"Step {line.step}/{line.total_steps}{loss}"
            storage.add_event(session, job, message, type="metrics", data=data)
            job.step, job.total_steps = line.step, line.total_steps
        if line.seconds_left is not None:
            left = timedelta(seconds=line.seconds_left)
            job.estimated_finish = storage.now() + left
