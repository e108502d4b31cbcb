"""What a worker does next.

A message is a wake-up, whatever job it names: the rows say what is to do. Whoever takes something
wakes a neighbour for what is left, and again when it lets go; a wake-up that finds nothing ends
there. A worker has one process more than slots, so that one is always free to validate.
"""

import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from services.common.db import after_commit
from services.common.leases import this_worker
from services.trainer import storage
from services.trainer.running.attempt import Workshop
from services.trainer.running.fine_tuning import train, validate
from services.trainer.running.launch import ALL_DEVICES
from services.trainer.running.turns import Limits, Turn, anything_to_do, next_turn
from services.trainer.settings import TrainerSettings


def devices(settings: TrainerSettings) -> tuple[str, ...]:
    """The devices of each slot, as ``CUDA_VISIBLE_DEVICES`` would have them."""
    if settings.devices:
        return settings.devices
    on_gpu = Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists()
    return (os.environ.get("CUDA_VISIBLE_DEVICES") or ALL_DEVICES,) if on_gpu else ("cpu",)


def slots(settings: TrainerSettings) -> Sequence[str]:
    """The slots of this host as job rows name them, ``<host>:<devices>``."""
    return [f"{socket.gethostname()}:{each}" for each in devices(settings)]


def limits(settings: TrainerSettings) -> Limits:
    return Limits(slots(settings), settings.max_running_jobs_per_caller)


def work(shop: Workshop) -> bool:
    """Validate a new job, or else train the next in turn; False when there is none for us."""
    owner = this_worker()
    turn = _take(shop, owner)
    if turn is None:
        return False
    if turn.slot is None:
        validate(shop, turn.job_id, owner)
    else:
        train(shop, turn.job_id, owner, devices=turn.slot.partition(":")[2])
    return True


def waits(shop: Workshop) -> bool:
    """Whether a wake-up would find something to do on this host."""
    with shop.db.transaction() as session:
        return anything_to_do(session, limits(shop.settings))


def _take(shop: Workshop, owner: str) -> Turn | None:
    lease = timedelta(seconds=shop.settings.lease_seconds)
    with shop.db.transaction() as session:
        turn = next_turn(session, limits(shop.settings), owner=owner, lease=lease)
        if turn is None:
            return None
        job = storage.get_job(session, turn.job_id)
        assert job is not None  # its row is locked
        if turn.lost:
            storage.add_event(session, job, "A worker was lost; the job goes on.", level="warn")
        elif turn.slot is not None and job.attempts == 1:
            again = "resumed" if job.step else "started"
            storage.add_event(session, job, f"Fine-tuning job {again}.")
        after_commit(session, shop.wake)
        return turn
