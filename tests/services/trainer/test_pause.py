"""Pausing and resuming as a caller sees them; what the worker does about it is its own matter."""

from collections.abc import Callable

import openai
import pytest
from sqlalchemy import update

from services.trainer.models import Job
from services.trainer.running.attempt import Workshop
from tests.services.trainer.conftest import BASE, fine_tune, pairs

Upload = Callable[..., str]


@pytest.fixture
def job_id(client: openai.OpenAI, upload: Upload) -> str:
    return client.fine_tuning.jobs.create(model=BASE, training_file=upload(pairs(10))).id


def put(workshop: Workshop, job_id: str, status: str) -> None:
    with workshop.db.transaction() as session:
        session.execute(update(Job).where(Job.id == job_id).values(status=status, attempts=2))


def said(client: openai.OpenAI, job_id: str) -> list[str]:
    return [event.message for event in client.fine_tuning.jobs.list_events(job_id)][-2::-1]


@pytest.mark.parametrize(
    ("before", "after"),
    [("validating_files", "validating_files"), ("queued", "queued"), ("running", "queued")],
)
def test_a_job_is_paused_at_once_and_resumed_to_where_it_waits(
    client: openai.OpenAI, workshop: Workshop, job_id: str, before: str, after: str
) -> None:
    put(workshop, job_id, before)
    for _ in range(2):
        assert client.fine_tuning.jobs.pause(job_id).status == "paused"
    assert client.fine_tuning.jobs.resume(job_id).status == after
    assert said(client, job_id) == ["The job was paused.", "The job was resumed."]
    with workshop.db.transaction() as session:
        resumed = session.get_one(Job, job_id)
        assert (resumed.paused_from, resumed.attempts) == (None, 0)


def test_a_paused_job_is_left_alone_by_workers(
    client: openai.OpenAI, workshop: Workshop, job_id: str
) -> None:
    paused = client.fine_tuning.jobs.pause(job_id)
    fine_tune(workshop, job_id)
    assert client.fine_tuning.jobs.retrieve(job_id) == paused


def test_a_paused_job_keeps_its_file_and_counts_against_the_limit(
    client: openai.OpenAI, job_id: str
) -> None:
    file_id = client.fine_tuning.jobs.pause(job_id).training_file
    with pytest.raises(openai.ConflictError):
        client.files.delete(file_id)
    for _ in range(4):
        client.fine_tuning.jobs.create(model=BASE, training_file=file_id)
    with pytest.raises(openai.RateLimitError):
        client.fine_tuning.jobs.create(model=BASE, training_file=file_id)


def test_a_paused_job_can_be_cancelled(client: openai.OpenAI, job_id: str) -> None:
    client.fine_tuning.jobs.pause(job_id)
    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"


def test_a_job_that_is_not_paused_cannot_be_resumed(client: openai.OpenAI, job_id: str) -> None:
    with pytest.raises(openai.ConflictError) as refused:
        client.fine_tuning.jobs.resume(job_id)
    assert refused.value.code == "job_not_paused"


def test_a_job_that_has_ended_is_neither_paused_nor_resumed(
    client: openai.OpenAI, job_id: str
) -> None:
    client.fine_tuning.jobs.cancel(job_id)
    for ask in (client.fine_tuning.jobs.pause, client.fine_tuning.jobs.resume):
        with pytest.raises(openai.ConflictError) as refused:
            ask(job_id)
        assert refused.value.code == "job_finished"
