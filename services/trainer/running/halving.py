"""A run that ran out of memory, once more with half as many examples at once."""

from sqlalchemy.orm import Session

from services.trainer import storage
from services.trainer.models import Job
from services.trainer.training.config import Failure, RunFolder, write_whole

OUT_OF_MEMORY = "out_of_memory"


def halve(session: Session, job: Job, folder: RunFolder, failure: Failure) -> bool:
    """Whether ``job``, which is locked, may go on from its last checkpoint after ``failure``.

    Once: the batch stays what it was, of smaller parts, so that the steps stay the same. The row
    remembers, for the worker that takes the job up should this one die now.
    """
    plan = folder.read_plan()
    again = job.micro_batch_halvings == 0 and plan is not None and plan.micro_batch > 1
    if failure.code != OUT_OF_MEMORY or plan is None or not again:
        return False
    job.micro_batch_halvings = 1
    config = folder.read_config().model_copy(update={"micro_batch_halvings": 1})
    write_whole(folder.config, config.model_dump_json(indent=2) + "\n")
    smaller = plan.halved()
    storage.add_event(
        session,
        job,
        f"The training ran out of memory with {plan.micro_batch} examples at once, accumulated "
        f"{plan.gradient_accumulation_steps} times; it goes on with {smaller.micro_batch} at once, "
        f"accumulated {smaller.gradient_accumulation_steps} times.",
        level="warn",
    )
    return True
