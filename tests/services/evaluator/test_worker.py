"""The worker as Celery sees it: a real process on a real Redis."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import select

from services.common.db import Database
from services.common.tasks import TaskQueue, make_celery
from services.evaluator import service, storage
from services.evaluator.evals import storage as evals_storage
from services.evaluator.evals.items import ReadItem
from services.evaluator.evals.models import EvalRow, EventRow, RunRow
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.conftest import Bench

T = TypeVar("T")


def environment(settings: EvaluatorSettings) -> dict[str, str]:
    named = ("mode", "database_url", "redis_url", "storage_url", "log_level")
    told = {f"FINEPROOF_EVALUATOR_{n.upper()}": str(getattr(settings, n)) for n in named}
    # Nobody listens there: a run ends in an error that names the peer.
    peers = {
        f"FINEPROOF_EVALUATOR_{n}_URL": "http://127.0.0.1:1"
        for n in ("RETRIEVER", "GENERATOR", "TRAINER")
    }
    secret = "whsec_" + base64.b64encode(bytes(24)).decode()
    webhooks = json.dumps([{"url": "http://127.0.0.1:1/hook", "secret": secret}])
    told |= {
        "FINEPROOF_EVALUATOR_ANSWER_PATIENCE_S": "0",
        "FINEPROOF_EVALUATOR_WEBHOOKS": webhooks,
    }
    return os.environ | told | peers


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


def wait_for(look: Callable[[], T | None], seconds: float) -> T:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if (found := look()) is not None:
            return found
        time.sleep(0.2)
    raise AssertionError("the worker did not do it")


def put_run_of_eval(db: Database, run_id: str) -> None:
    same = {
        "type": "string_check",
        "name": "same",
        "input": "{{sample.output_text}}",
        "reference": "{{item.a}}",
        "operation": "eq",
    }
    config = {"type": "custom", "item_schema": {}}
    source = {"type": "jsonl", "source": {"type": "file_content", "content": []}}
    with db.transaction() as session:
        of = EvalRow(id="eval_1", name="e", details=None, config=config, criteria=[same])
        evals_storage.add(session, of)
        run = RunRow(
            id=run_id, eval_id=of.id, name="r", model="", details=None, data_source=source, items=1
        )
        evals_storage.add(session, run)
        given = ReadItem(0, {"a": "b"}, {"output_text": "b"}, "00" * 32)
        evals_storage.add_items(session, run_id, [given])


def told_of(db: Database, run_id: str) -> EventRow | None:
    """The webhook of its end, once somebody tried to send it."""
    with db.transaction() as session:
        tried = select(EventRow).where(EventRow.run_id == run_id, EventRow.answer.is_not(None))
        return session.scalar(tried)


def test_a_worker_runs_what_is_sent_and_sweeps_up_what_was_not(
    bench: Bench, settings: EvaluatorSettings
) -> None:
    bench.put("exp_swept")
    put_run_of_eval(bench.db, "evalrun_swept")
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
            assert wait_for_end(bench.db, experiment_id, 180) == "failed"
            error = bench.find(experiment_id).error
            assert error is not None
            assert error["code"] == "service_unavailable"
        # Its answers are given and its graders ask nobody.
        event = wait_for(lambda: told_of(bench.db, "evalrun_swept"), 180)
        assert event.type == "eval.run.succeeded"
        assert event.answer == "ConnectError"  # nobody listens there
    finally:
        worker.terminate()
        worker.wait(30)
