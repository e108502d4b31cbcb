"""The worker as Celery sees it: a real process on a real Redis."""

import os
import subprocess
import sys
import time

from services.common.db import Database
from services.common.tasks import TaskQueue, make_celery
from services.evaluator import service, storage
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.conftest import Bench


def environment(settings: EvaluatorSettings) -> dict[str, str]:
    named = ("mode", "database_url", "redis_url", "storage_url", "log_level")
    told = {f"FINEPROOF_EVALUATOR_{n.upper()}": str(getattr(settings, n)) for n in named}
    # Nobody listens there: a run ends in an error that names the peer.
    peers = {
        f"FINEPROOF_EVALUATOR_{n}_URL": "http://127.0.0.1:1"
        for n in ("RETRIEVER", "GENERATOR", "TRAINER")
    }
    return os.environ | told | peers | {"FINEPROOF_EVALUATOR_ANSWER_PATIENCE_S": "0"}


def wait_for_end(db: Database, experiment_id: str, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with db.transaction() as session:
            row = storage.find(session, experiment_id)
            assert row is not None
            if row.status not in storage.ACTIVE:
                return row.status
        time.sleep(0.2)
    raise AssertionError("the worker did not take it up")


def test_a_worker_runs_what_is_sent_and_sweeps_up_what_was_not(
    bench: Bench, settings: EvaluatorSettings
) -> None:
    bench.put("exp_swept")
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "services.evaluator.worker", "worker"),
            *("--concurrency", "1", "--loglevel", "ERROR"),
        ],
        env=environment(settings),
    )
    try:
        bench.put("exp_sent")
        queue = TaskQueue(make_celery("evaluator", settings.redis_url))
        queue.send(service.RUN, "exp_sent")
        queue.close()
        for experiment_id in ("exp_sent", "exp_swept"):
            assert wait_for_end(bench.db, experiment_id, 90) == "failed"
            error = bench.find(experiment_id).error
            assert error is not None
            assert error["code"] == "service_unavailable"
    finally:
        worker.terminate()
        worker.wait(30)
