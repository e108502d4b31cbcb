"""From a fine-tuning job to an adapter that is served: sent once, watched, loaded and proven."""

import asyncio
from dataclasses import dataclass

from fineproof.errors import UserError
from fineproof.experiment.memory import Memory
from fineproof.experiment.progress import Board
from fineproof.experiment.stack import POLL_SECONDS, Stack
from services.common.clients.generator import GeneratorClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.generator import Adapter
from services.common.contracts.trainer import FineTuningJob, FineTuningJobCreate

_ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Made:
    """A job that succeeded, and its adapter, loaded."""

    job: FineTuningJob
    adapter: Adapter


async def make(
    stack: Stack, ask: FineTuningJobCreate, *, memory: Memory, board: Board, what: str
) -> Made:
    """Have the adapter trained, loaded and proven; ``what`` it is stands in the bars' titles.

    Raises :class:`UserError` when the job ends otherwise, and forgets it, so that the next run
    makes it anew; and the generator's own error, such as ``adapter_no_effect``.
    """
    job = await _trained(stack.trainer, ask, memory, board, f"Training {what}")
    assert job.fine_tuned_model is not None  # a job that succeeded has one
    title = f"Loading and proving {what}"
    return Made(job, await _loaded(stack.generator, job.fine_tuned_model, board, title))


async def _trained(
    trainer: TrainerClient, ask: FineTuningJobCreate, memory: Memory, board: Board, title: str
) -> FineTuningJob:
    async def submit() -> str:
        return (await trainer.create_job(ask)).id

    inputs = ask.model_dump_json()
    job_id = await memory.once("job", inputs, submit, trainer.job)
    job = await _watched(trainer, job_id, board, title)
    if job.status != "succeeded":
        memory.forget("job", inputs)
        reason = job.error.message if job.error else "no reason given"
        raise UserError(f"Job {job.id} {job.status}: {reason}")
    return job


async def _watched(trainer: TrainerClient, job_id: str, board: Board, title: str) -> FineTuningJob:
    """The job once it has ended; a paused one is waited for."""
    job = await trainer.job(job_id)
    with board.bar(title, None) as bar:
        while job.status not in _ENDED:
            bar.at(job.progress.step, job.progress.total_steps, note=job.status)
            await asyncio.sleep(POLL_SECONDS)
            job = await trainer.job(job_id)
        bar.at(job.progress.step, job.progress.total_steps, note=job.status)
    return job


async def _loaded(generator: GeneratorClient, model: str, board: Board, title: str) -> Adapter:
    with board.bar(title, 1) as bar:
        adapter = await generator.load_adapter(model)
        if adapter.status != "loaded":
            reason = adapter.error.message if adapter.error else adapter.status
            raise UserError(f"Adapter {model} is not served: {reason}")
        bar.at(1)
    return adapter
