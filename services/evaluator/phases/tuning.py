"""The first phase: arms declared by how they are made get their adapters."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import structlog
from sqlalchemy.orm import Session

from services.common.contracts.budget import Spent
from services.common.contracts.trainer import FineTuningJob
from services.common.db import Database
from services.common.errors import Conflict, InvalidRequest, NotFound, RateLimited, UpstreamFailed
from services.common.sampling import Drawing
from services.evaluator import storage, tuning_storage
from services.evaluator.making import Making, makings
from services.evaluator.models import Json, Tuning
from services.evaluator.peers import Peers, patiently
from services.evaluator.run import Run
from services.evaluator.spending import check
from services.evaluator.turns import LeaseLost

log = structlog.get_logger(__name__)

T = TypeVar("T")
_ENDED_BADLY = ("failed", "cancelled")
_ENDED = (*_ENDED_BADLY, "succeeded")


@dataclass(frozen=True)
class Member:
    """A model that answers for an arm. ``training_seed`` is None for what was not made here."""

    arm: str
    model: str
    training_seed: int | None = None
    job_id: str | None = None


async def tune(run: Run) -> list[Member]:
    """Have every declared adapter trained, or find it; returns when the last is done.

    Raises the job's own error when one fails. What the other arms have under way goes on then: an
    experiment that declares the same takes it over. Raises ``BudgetExceeded`` once it has taken
    more minutes than there are; its jobs are cancelled then.
    """
    wanted = await _makings(run)
    jobs: Mapping[str, FineTuningJob] = {}
    if wanted:
        await run.enter("tuning", done=0, total=0)
        jobs = await _Tuning(run, wanted).done()
    return _members(run, wanted, jobs)


def _members(run: Run, wanted: Sequence[Making], jobs: Mapping[str, FineTuningJob]) -> list[Member]:
    found: list[Member] = []
    for arm in run.spec.arms:
        if arm.tune is None:
            found.append(Member(arm.name, str(arm.model)))
        elif not arm.tune.trains:
            found.append(Member(arm.name, arm.tune.base_model))
        for making in wanted:
            if making.arm == arm.name:
                job = jobs[making.definition]
                found.append(Member(arm.name, str(job.fine_tuned_model), making.seed, job.id))
    return found


async def _makings(run: Run) -> list[Making]:
    files = {
        arm.tune.training_file
        for arm in run.spec.arms
        if arm.tune is not None and arm.tune.trains and arm.tune.training_file is not None
    }
    sha256 = {}
    for file_id in sorted(files):
        sha256[file_id] = (await _ask(run, lambda: run.peers.trainer.file(file_id))).sha256  # noqa: B023
    return makings(run.spec, sha256)


async def _ask(run: Run, ask: Callable[[], Awaitable[T]]) -> T:
    return await patiently(ask, seconds=run.settings.answer_patience_s)


class _Tuning:
    """The trainings of one turn. ``jobs`` are those asked for so far, by definition."""

    def __init__(self, run: Run, wanted: Sequence[Making]) -> None:
        self.run = run
        self.trainer = run.peers.trainer
        self.wanted = {making.definition: making for making in wanted}
        self.jobs: dict[str, FineTuningJob] = {}
        self.mine: set[str] = set()  # jobs that an earlier turn waited for, not known to be over
        self.started = asyncio.get_running_loop().time()

    async def done(self) -> Mapping[str, FineTuningJob]:
        known = await self.run.write(
            lambda session: tuning_storage.jobs_of(session, self.run.experiment_id)
        )
        self.mine = {entry["job_id"] for entry in known if not entry["settled"]}
        while True:
            await self._submit()
            await self._save()
            self._raise_for_failed()
            if len(self.jobs) == len(self.wanted) and not self._open:
                return self.jobs
            await asyncio.sleep(self.run.settings.tuning_poll_s)
            for definition in self._open:
                job_id = self.jobs[definition].id
                self.jobs[definition] = await _ask(
                    self.run,
                    lambda: self.trainer.job(job_id),  # noqa: B023
                )

    @property
    def _open(self) -> list[str]:
        return [name for name, job in self.jobs.items() if job.status not in _ENDED]

    async def _submit(self) -> None:
        """Ask for what has not been asked for; what the trainer has no room for waits."""
        for definition, making in self.wanted.items():
            if definition in self.jobs:
                continue
            try:
                self.jobs[definition] = await self._job_of(making)
            except RateLimited:
                if not self._open:
                    raise

    async def _job_of(self, making: Making) -> FineTuningJob:
        known = await self.run.db.transact(lambda s: tuning_storage.find(s, making.definition))
        if known is None:
            file_id = await self._file_of(making)
            known = await self.run.db.transact(
                lambda s: tuning_storage.add(s, making.definition, making.sample, file_id)
            )
        elif known.job_id is not None:
            if (job := await self._usable(known.job_id)) is not None:
                return job
            file_id, attempt = await self._file_of(making), known.attempt
            known = await self.run.db.transact(
                lambda s: tuning_storage.again(
                    s, making.definition, attempt=attempt, file_id=file_id
                )
            )
        # A worker that was killed here asks again with the same key, and gets the same job.
        return await asyncio.shield(self._create(making, known))

    async def _usable(self, job_id: str) -> FineTuningJob | None:
        """The job, unless it ended badly before this experiment, or its adapter is gone."""
        try:
            job = await _ask(self.run, lambda: self.trainer.job(job_id))
            if job.status == "succeeded":
                await _ask(self.run, lambda: self.trainer.adapter(str(job.fine_tuned_model)))
        except NotFound:
            return None
        return None if job.status in _ENDED_BADLY and job.id not in self.mine else job

    async def _create(self, making: Making, known: Tuning) -> FineTuningJob:
        key = f"{making.definition}-{known.attempt}-{known.file_id}"
        job = await _ask(
            self.run, lambda: self.trainer.create_job(making.job(known.file_id), key=key)
        )
        await self.run.db.transact(
            lambda s: tuning_storage.set_job(
                s, making.definition, attempt=known.attempt, job_id=job.id
            )
        )
        self.jobs[making.definition] = job
        try:
            await self._save()
        except LeaseLost:
            await _cancel(self.run.peers, self.run.db, job.id)
            raise
        return job

    async def _file_of(self, making: Making) -> str:
        """The file to train on: the whole one, or a sample, drawn and uploaded once."""
        source = str(making.tune.training_file)
        if not making.tune.pairs:
            return source
        known = await self.run.db.transact(lambda s: tuning_storage.file_of(s, making.sample))
        if known is not None:
            try:
                return (await _ask(self.run, lambda: self.trainer.file(known))).id
            except NotFound:
                log.info("sample_gone", file=known)
        drawing = Drawing(making.tune.pairs, seed=making.tune.sample_seed)
        async with self.trainer.file_lines(source) as lines:
            async for line in lines:
                drawing.offer(line)
        if drawing.seen < making.tune.pairs:
            raise InvalidRequest(
                f"Arm '{making.arm}' is to be made of {making.tune.pairs} pairs; file '{source}' "
                f"holds {drawing.seen}.",
                code="too_few_pairs",
                param="arms",
            )
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{making.tune.pairs}-pairs-seed-{making.tune.sample_seed}.jsonl"
            path.write_text("".join(f"{line}\n" for line in drawing.lines))
            return (await _ask(self.run, lambda: self.trainer.upload_file(path, "fine-tune"))).id

    async def _save(self) -> None:
        jobs = list(self.jobs.values())
        totals = [job.progress.total_steps for job in jobs]
        left = [job.progress.seconds_left for job in jobs if job.status not in _ENDED]
        counted = len(jobs) == len(self.wanted) and all(totals)
        entries = [self._entry(making) for making in self.wanted.values()]
        now = asyncio.get_running_loop().time()
        seconds, self.started = now - self.started, now

        def step(session: Session) -> Spent:
            storage.set_fields(
                session,
                self.run.experiment_id,
                tunings=[entry for entry in entries if entry],
                done=sum(job.progress.step for job in jobs),
                total=sum(total or 0 for total in totals) if counted else 0,
                seconds_left=sum(s or 0 for s in left) if left and all(left) else None,
            )
            storage.add_seconds(session, self.run.experiment_id, "tuning", seconds)
            return storage.add_spent(session, self.run.experiment_id, Spent())

        spent = await self.run.write(step)
        if len(self.jobs) < len(self.wanted) or self._open:
            check(self.run.spec.budget, spent)

    def _entry(self, making: Making) -> Json | None:
        job = self.jobs.get(making.definition)
        if job is None:
            return None
        return {
            "arm": making.arm,
            "seed": making.seed,
            "job_id": job.id,
            "definition": making.definition,
            "settled": job.status in _ENDED,
        }

    def _raise_for_failed(self) -> None:
        for definition, job in self.jobs.items():
            if job.status in _ENDED_BADLY:
                arm = self.wanted[definition].arm
                raise UpstreamFailed(
                    f"Job '{job.id}' of arm '{arm}' {job.status}"
                    f"{f': {job.error.message}' if job.error else '.'}",
                    code=job.error.code if job.error else f"job_{job.status}",
                )


async def cancel_jobs(experiment_id: str, *, db: Database, peers: Peers) -> None:
    """Cancel what a cancelled experiment has under way, and no other waits for.

    Safe to repeat: each job is settled once the trainer has said so.
    """
    for entry in await db.transact(lambda s: tuning_storage.jobs_of(s, experiment_id)):
        if not entry["settled"]:
            await _cancel(peers, db, entry["job_id"])
    await db.transact(lambda session: tuning_storage.settle(session, experiment_id))


async def _cancel(peers: Peers, db: Database, job_id: str) -> None:
    if await db.transact(lambda session: tuning_storage.is_wanted(session, job_id)):
        return  # by another, or by this one, which goes on
    try:
        await peers.trainer.cancel_job(job_id)
    except (Conflict, NotFound):
        log.info("job_over", job=job_id)
