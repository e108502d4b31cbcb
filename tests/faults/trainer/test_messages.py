"""Messages that come more than once, and workers that meet."""

from services.common.tasks import TaskQueue, make_celery
from services.trainer.service import FINE_TUNE
from tests.faults.trainer.conftest import Trainer, processes_of, wait_for


def test_a_message_is_delivered_several_times(trainer: Trainer) -> None:
    trainer.start_worker()
    queue = TaskQueue(make_celery("trainer", trainer.settings.redis_url))
    job_id = trainer.create_job()
    queue.send(FINE_TUNE, job_id)
    trainer.wait_for_checkpoint(job_id)
    queue.send(FINE_TUNE, job_id)
    trainer.assert_as_undisturbed(job_id)
    queue.send(FINE_TUNE, job_id)
    queue.close()
    next_id = trainer.create_job()
    trainer.assert_as_undisturbed(next_id)
    trainer.assert_as_undisturbed(job_id)


def test_two_workers_share_one_slot_and_two_jobs(trainer: Trainer) -> None:
    for name in ("one", "other"):
        trainer.start_worker(name)
    jobs = [trainer.create_job(), trainer.create_job()]

    def ended() -> bool:
        training = [bool(processes_of(job_id)) for job_id in jobs]
        # A slot is freed after its process has ended.
        assert not all(training)
        return all(trainer.status(job_id) == "succeeded" for job_id in jobs)

    wait_for(ended, seconds=400)
    for job_id in jobs:
        trainer.assert_as_undisturbed(job_id)
        assert "A worker was lost; the job goes on." not in trainer.messages(job_id)
