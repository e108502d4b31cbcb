"""A real worker sees to what is due, while it has no job and is sent none."""

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import openai
import pytest

from services.trainer import storage
from services.trainer.running.attempt import Workshop
from tests.services.trainer.conftest import BASE, pairs
from tests.services.trainer.running.test_turns import job
from tests.services.trainer.running.test_webhooks import SECRET, Receiver, receiver
from tests.services.trainer.test_files import expire
from tests.services.trainer.workers import Worker, start_worker, wait_for

__all__ = ["receiver", "start_worker"]


@pytest.fixture
def told(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    """Everybody here is configured to tell it."""
    endpoint = {"url": f"http://127.0.0.1:{receiver.server_port}", "secret": SECRET}
    monkeypatch.setenv("FINEPROOF_TRAINER_WEBHOOKS", json.dumps([endpoint]))
    return receiver


def test_a_worker_tells_what_ended_and_clears_away_what_expired(
    told: Receiver,
    client: openai.OpenAI,
    upload: Callable[..., str],
    workshop: Workshop,
    start_worker: Worker,
) -> None:
    file_id = upload(pairs(10))
    cancelled = client.fine_tuning.jobs.create(model=BASE, training_file=file_id)
    client.fine_tuning.jobs.cancel(cancelled.id)
    expire(workshop, file_id)
    run_folder = failed_long_ago(workshop)
    start_worker()

    def gone() -> bool:
        with workshop.db.transaction() as session:
            return storage.get_file(session, file_id) is None

    wait_for(gone)
    wait_for(lambda: not run_folder.exists())
    ((_, body),) = wait_for(lambda: told.got)
    assert json.loads(body)["data"] == {"id": cancelled.id}


def failed_long_ago(workshop: Workshop) -> Path:
    """The run folder of a job that nobody will look into again."""
    moment = storage.now() - timedelta(days=workshop.settings.keep_failed_days + 1)
    row = job("ftjob_old", status="failed", finished_at=moment)
    folder = workshop.settings.work_dir / row.id
    folder.mkdir(parents=True)
    os.utime(folder, (moment.timestamp(), moment.timestamp()))
    with workshop.db.transaction() as session:
        session.add(row)
    return folder
