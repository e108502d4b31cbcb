"""Processes that die: the training, the one of the pool that watches it, the worker."""

import signal

import psutil

from tests.faults.trainer.conftest import (
    Trainer,
    kill,
    pool_process_of,
    processes_of,
    training_of,
    wait_for,
)


def test_the_training_process_is_killed(trainer: Trainer) -> None:
    trainer.start_worker()
    job_id = trainer.create_job()
    trainer.wait_for_checkpoint(job_id)
    kill(training_of(job_id))
    trainer.wait_for_message(job_id, "The training process was killed by signal 9.")
    trainer.assert_as_undisturbed(job_id)


def test_the_pool_process_is_killed(trainer: Trainer) -> None:
    trainer.start_worker()
    job_id = trainer.create_job()
    trainer.wait_for_checkpoint(job_id)
    family = processes_of(job_id)
    kill(pool_process_of(job_id))
    _, left = psutil.wait_procs(family, timeout=20)
    assert not left
    trainer.wait_for_message(job_id, "A worker was lost; the job goes on.")
    trainer.assert_as_undisturbed(job_id)


def test_the_whole_worker_is_killed(trainer: Trainer) -> None:
    worker = trainer.start_worker()
    job_id = trainer.create_job()
    trainer.wait_for_checkpoint(job_id)
    family = psutil.Process(worker.pid).children(recursive=True)
    worker.kill()
    worker.wait()
    _, left = psutil.wait_procs(family, timeout=20)
    assert not left
    assert trainer.status(job_id) == "running"
    trainer.start_worker()
    trainer.wait_for_message(job_id, "A worker was lost; the job goes on.")
    trainer.assert_as_undisturbed(job_id)


def test_the_worker_is_asked_to_end(trainer: Trainer) -> None:
    worker = trainer.start_worker()
    job_id = trainer.create_job()
    trainer.wait_for_checkpoint(job_id)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(120) == 0
    assert not processes_of(job_id)
    held = trainer.row(job_id)
    assert (held.slot, held.lease_owner) == (None, None)
    saved = f"The worker is ending; another will go on. Step {held.step} is saved."
    assert saved in trainer.messages(job_id)
    trainer.start_worker()
    trainer.assert_as_undisturbed(job_id)
    # Nothing was trained twice.
    lines = (trainer.settings.work_dir / job_id / "metrics.jsonl").read_text().splitlines()
    assert sum('"train_loss"' in line for line in lines) == len(trainer.undisturbed)


def test_a_job_is_paused_its_worker_restarted_and_the_job_resumed(trainer: Trainer) -> None:
    worker = trainer.start_worker()
    job_id = trainer.create_job()
    trainer.wait_for_checkpoint(job_id)
    trainer.client.fine_tuning.jobs.pause(job_id)
    trainer.wait_for_message(job_id, "Training has paused.")
    wait_for(lambda: trainer.row(job_id).slot is None)
    assert not processes_of(job_id)
    worker.kill()
    worker.wait()
    trainer.start_worker()
    trainer.client.fine_tuning.jobs.resume(job_id)
    trainer.assert_as_undisturbed(job_id)
