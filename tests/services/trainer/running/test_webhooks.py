"""Webhooks against a receiver that listens, as the stock client reads them."""

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import openai
import pytest
from openai.types.webhooks import (
    FineTuningJobCancelledWebhookEvent,
    FineTuningJobFailedWebhookEvent,
)
from pydantic import ValidationError
from sqlalchemy import select, update

from services.common import webhooks
from services.trainer import storage
from services.trainer.endings import finish
from services.trainer.models import Delivery
from services.trainer.running.attempt import Workshop
from services.trainer.settings import TrainerSettings, WebhookEndpoint
from tests.services.trainer.conftest import BASE, fine_tune, pairs

Upload = Callable[..., str]

SECRET = "whsec_" + base64.b64encode(b"the secret of this receiver").decode()
OTHER = "whsec_" + base64.b64encode(b"the secret of somebody else").decode()


class Receiver(ThreadingHTTPServer):
    """Keeps what arrives, and answers with ``answers``, the last of them for ever."""

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Post)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.answers = [200]

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Post(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        answers = self.server.answers
        self.send_response(answers.pop(0) if len(answers) > 1 else answers[0])
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        yield server


@pytest.fixture
def settings(settings: TrainerSettings, receiver: Receiver) -> TrainerSettings:
    endpoint = {"url": f"http://127.0.0.1:{receiver.server_port}/hook", "secret": SECRET}
    told = WebhookEndpoint.model_validate(endpoint)
    return settings.model_copy(update={"webhooks": (told,)})


@pytest.fixture
def cancelled(client: openai.OpenAI, upload: Upload) -> str:
    """A job that ended."""
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(pairs(10)))
    return client.fine_tuning.jobs.cancel(job.id).id


def deliver(workshop: Workshop) -> None:
    webhooks.deliver(workshop.db, Delivery, workshop.settings.webhooks)


def outbox(workshop: Workshop) -> list[Delivery]:
    with workshop.db.transaction() as session:
        return list(session.scalars(select(Delivery)))


def make_due(workshop: Workshop) -> None:
    with workshop.db.transaction() as session:
        past = storage.now() - timedelta(seconds=1)
        session.execute(update(Delivery).values(next_attempt_at=past))


def test_the_stock_client_accepts_what_is_sent(
    client: openai.OpenAI, workshop: Workshop, receiver: Receiver, cancelled: str
) -> None:
    deliver(workshop)
    ((headers, body),) = receiver.got
    event = client.webhooks.unwrap(body, headers, secret=SECRET)
    assert isinstance(event, FineTuningJobCancelledWebhookEvent)
    assert event.data.id == cancelled
    assert event.id == headers["webhook-id"]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body, headers, secret=OTHER)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body + b" ", headers, secret=SECRET)


def test_a_job_that_fails_in_a_worker_is_told_of(
    client: openai.OpenAI, upload: Upload, workshop: Workshop, receiver: Receiver
) -> None:
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(b"not JSON\n"))
    fine_tune(workshop, job.id)
    deliver(workshop)
    ((headers, body),) = receiver.got
    event = client.webhooks.unwrap(body, headers, secret=SECRET)
    assert isinstance(event, FineTuningJobFailedWebhookEvent)
    assert event.data.id == job.id


def test_a_receiver_that_fails_twice_gets_it_at_last_and_once(
    workshop: Workshop, receiver: Receiver, cancelled: str
) -> None:
    receiver.answers = [500, 302, 204]
    for sent in (1, 2, 3, 3):
        deliver(workshop)
        deliver(workshop)  # not due yet
        assert len(receiver.got) == sent
        make_due(workshop)
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len({body for _, body in receiver.got}) == 1
    (row,) = outbox(workshop)
    assert (row.status, row.attempts, row.answer) == ("delivered", 3, "204")


def test_a_receiver_that_is_down_loses_nothing(
    workshop: Workshop, receiver: Receiver, cancelled: str
) -> None:
    port = receiver.server_port
    receiver.__exit__()
    deliver(workshop)
    (row,) = outbox(workshop)
    assert (row.status, row.answer, row.lease_owner) == ("pending", "ConnectError", None)
    assert row.next_attempt_at > storage.now()
    make_due(workshop)
    with Receiver(port) as back:
        deliver(workshop)
        assert len(back.got) == 1


def test_each_is_sent_by_one_at_a_time(
    workshop: Workshop, receiver: Receiver, cancelled: str
) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(deliver, workshop) for _ in range(4)]:
            done.result()
    assert len(receiver.got) == 1


def test_what_nobody_takes_is_given_up_after_three_days(
    workshop: Workshop, receiver: Receiver, cancelled: str
) -> None:
    receiver.answers = [500]
    with workshop.db.transaction() as session:
        past = storage.now() - webhooks.GIVE_UP_AFTER
        session.execute(update(Delivery).values(created_at=past))
    deliver(workshop)
    make_due(workshop)
    deliver(workshop)
    (row,) = outbox(workshop)
    assert (row.status, row.answer, len(receiver.got)) == ("failed", "500", 1)


def test_a_worker_that_does_not_know_an_endpoint_leaves_its_webhooks_to_others(
    workshop: Workshop, receiver: Receiver, cancelled: str
) -> None:
    webhooks.deliver(workshop.db, Delivery, ())
    assert [(row.status, row.attempts) for row in outbox(workshop)] == [("pending", 0)]
    deliver(workshop)
    assert len(receiver.got) == 1


def test_an_endpoint_gets_the_events_it_asks_for(
    settings: TrainerSettings, client: openai.OpenAI, workshop: Workshop, upload: Upload
) -> None:
    (endpoint,) = settings.webhooks
    deaf = endpoint.model_copy(update={"events": frozenset({"fine_tuning.job.failed"})})
    shop = replace(workshop, settings=settings.model_copy(update={"webhooks": (deaf,)}))
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(b"not JSON\n"))
    fine_tune(shop, job.id)
    assert [row.type for row in outbox(workshop)] == ["fine_tuning.job.failed"]


def test_waits_double_up_to_six_hours() -> None:
    waits = [webhooks.wait_after(attempts) for attempts in (1, 2, 10, 1000)]
    expected = [5, 10, 5 * 2**9, 6 * 3600]
    assert [each.total_seconds() for each in waits] == pytest.approx(expected, rel=0.25)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_x", "plain words", "whsec_c2hvcnQ="])
def test_a_secret_that_cannot_sign_is_refused_at_start(secret: str) -> None:
    with pytest.raises(ValidationError, match="secret"):
        WebhookEndpoint.model_validate({"url": "https://example.org", "secret": secret})


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled"])
def test_an_ending_and_its_webhook_are_one(
    client: openai.OpenAI, workshop: Workshop, upload: Upload, status: Any
) -> None:
    job_id = client.fine_tuning.jobs.create(model=BASE, training_file=upload(pairs(10))).id

    def end() -> None:
        with workshop.db.transaction() as session:
            job = storage.lock_job(session, job_id)
            assert job is not None
            finish(session, job, status, workshop.settings.webhooks)
            if rolled_back:
                raise InterruptedError

    rolled_back = True
    with pytest.raises(InterruptedError):
        end()
    assert (client.fine_tuning.jobs.retrieve(job_id).status, outbox(workshop)) == (
        "validating_files",
        [],
    )
    rolled_back = False
    end()
    assert client.fine_tuning.jobs.retrieve(job_id).status == status
    assert [row.type for row in outbox(workshop)] == [f"fine_tuning.job.{status}"]
