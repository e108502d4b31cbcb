"""Endings of runs, told to the operator's endpoints as the stock client reads them."""

import asyncio

import openai
import pytest

from services.common.webhooks import deliver
from services.evaluator.evals.models import EventRow
from services.evaluator.settings import EvaluatorSettings, WebhookEndpoint
from tests.services.evaluator.evals.conftest import ITEMS, Bench, given
from tests.services.trainer.running.test_webhooks import SECRET, Receiver, receiver

__all__ = ["receiver"]


@pytest.fixture
def settings(settings: EvaluatorSettings, receiver: Receiver) -> EvaluatorSettings:
    endpoint = {"url": f"http://127.0.0.1:{receiver.server_port}/hook", "secret": SECRET}
    told = WebhookEndpoint.model_validate(endpoint)
    return settings.model_copy(update={"webhooks": (told,)})


async def test_every_way_a_run_ends_is_told_once_and_signed(
    bench: Bench, receiver: Receiver, client: openai.AsyncOpenAI
) -> None:
    source = given((ITEMS[0], "2"))
    completed = await bench.finish(source)
    bench.world.files["file-1"] = ("evals", "\n" * (5 * 2**20) + "no JSON")
    failed = await bench.finish({"type": "jsonl", "source": {"type": "file_id", "id": "file-1"}})
    eval_id, run_id = await bench.start(source)
    for _ in range(2):
        await bench.post(f"/{eval_id}/runs/{run_id}/cancel", {}, 200)
    for _ in range(2):
        await in_a_thread(bench)
    events = {}
    for headers, body in receiver.got:
        event = client.webhooks.unwrap(body, headers, secret=SECRET)
        events[event.data.id] = event.type
    assert len(receiver.got) == 3
    assert events == {
        completed.id: "eval.run.succeeded",
        failed.id: "eval.run.failed",
        run_id: "eval.run.canceled",
    }


async def in_a_thread(bench: Bench) -> None:
    await asyncio.to_thread(deliver, bench.db, EventRow, bench.settings.webhooks)
