"""A job's events as a stream."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import openai
import pytest
from sqlalchemy import create_engine, make_url, text

from services.common import watching
from services.trainer.settings import TrainerSettings
from tests.services.trainer.conftest import BASE, pairs
from tests.services.trainer.workers import wait_for

Upload = Callable[..., str]

JOBS = "/v1/fine_tuning/jobs"
WATCHERS = 3


@pytest.fixture
def settings(settings: TrainerSettings) -> TrainerSettings:
    return settings.model_copy(
        update={"max_event_watchers": WATCHERS, "database_pool_size": 1, "max_unfinished_jobs": 50}
    )


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)


@pytest.fixture
def job_id(client: openai.OpenAI, upload: Upload) -> str:
    return client.fine_tuning.jobs.create(model=BASE, training_file=upload(pairs(10))).id


def frames(answer: httpx.Response) -> Iterator[dict[str, str]]:
    """Server-sent events as their fields; a comment has the empty name."""
    frame: dict[str, str] = {}
    for line in answer.iter_lines():
        if line:
            name, _, value = line.partition(":")
            frame[name] = value.strip()
        else:
            yield frame
            frame = {}


def watched(http: httpx.Client, job_id: str, **request: Any) -> list[dict[str, str]]:
    params = {"stream": "true"} | request.pop("params", {})
    with http.stream("GET", f"{JOBS}/{job_id}/events", params=params, **request) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        return list(frames(answer))


def test_a_stream_gives_the_events_oldest_first_and_ends(
    http: httpx.Client, client: openai.OpenAI, job_id: str
) -> None:
    client.fine_tuning.jobs.cancel(job_id)
    listed = http.get(f"{JOBS}/{job_id}/events?order=asc").json()["data"]
    *events, last = watched(http, job_id)
    assert [json.loads(event["data"]) for event in events] == listed
    assert [(event["id"], event["event"]) for event in events] == [
        (event["id"], event["type"]) for event in listed
    ]
    assert last == {"data": "[DONE]"}


def test_events_come_as_they_happen(http: httpx.Client, client: openai.OpenAI, job_id: str) -> None:
    headers = {"Accept": "text/event-stream"}
    with http.stream("GET", f"{JOBS}/{job_id}/events", headers=headers) as answer:
        coming = frames(answer)
        assert "Created" in next(coming)["data"]
        for ask, message in (
            (client.fine_tuning.jobs.pause, "The job was paused."),
            (client.fine_tuning.jobs.resume, "The job was resumed."),
            (client.fine_tuning.jobs.cancel, "The job was cancelled."),
        ):
            ask(job_id)
            assert json.loads(next(coming)["data"])["message"] == message
        assert list(coming) == [{"data": "[DONE]"}]


def test_a_stream_goes_on_after_the_last_event_seen(
    http: httpx.Client, client: openai.OpenAI, job_id: str
) -> None:
    client.fine_tuning.jobs.pause(job_id)
    client.fine_tuning.jobs.cancel(job_id)
    first, second, third, _ = watched(http, job_id)

    def rest(**request: Any) -> list[str]:
        return [event["id"] for event in watched(http, job_id, **request)[:-1]]

    assert rest(params={"after": first["id"]}) == [second["id"], third["id"]]
    assert rest(headers={"Last-Event-ID": second["id"]}) == [third["id"]]
    both = {"params": {"after": first["id"]}, "headers": {"Last-Event-ID": second["id"]}}
    assert rest(**both) == [third["id"]]
    assert rest(params={"after": third["id"]}) == []


def test_more_events_than_a_look_takes_in_come_all(
    http: httpx.Client, client: openai.OpenAI, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "AT_ONCE", 2)
    for _ in range(2):
        client.fine_tuning.jobs.pause(job_id)
        client.fine_tuning.jobs.resume(job_id)
    client.fine_tuning.jobs.cancel(job_id)
    assert len(watched(http, job_id)) == 7


def test_a_quiet_stream_is_kept_alive(
    http: httpx.Client, client: openai.OpenAI, job_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "KEEP_ALIVE_SECONDS", 0.1)
    with http.stream("GET", f"{JOBS}/{job_id}/events?stream=true") as answer:
        coming = frames(answer)
        next(coming)
        assert next(coming) == {"": "keep-alive"}


def test_watchers_are_few_hold_no_connection_and_leave_their_seats(
    http: httpx.Client, job_id: str
) -> None:
    path = f"{JOBS}/{job_id}/events?stream=true"
    with ExitStack() as seats:
        coming = [frames(seats.enter_context(http.stream("GET", path))) for _ in range(WATCHERS)]
        for each in coming:
            next(each)
        refused = http.get(path)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_watchers")
        assert "Retry-After" in refused.headers
        # Three of them watch, and the pool has a connection or two: enough, as they hold none.
        for _ in range(20):
            assert http.get(f"{JOBS}/{job_id}").status_code == 200

    def seated() -> bool:
        with http.stream("GET", path) as answer:
            return answer.status_code == 200

    wait_for(seated, 60)


def test_a_stream_outlives_the_database(
    http: httpx.Client,
    client: openai.OpenAI,
    job_id: str,
    postgres_url: str,
    database_url: str,
) -> None:
    name = make_url(database_url).database
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with (
        http.stream("GET", f"{JOBS}/{job_id}/events?stream=true") as answer,
        admin.connect() as postgres,
    ):
        coming = frames(answer)
        next(coming)
        postgres.execute(text(f'alter database "{name}" allow_connections false'))
        postgres.execute(
            text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"),
            {"name": name},
        )
        assert http.get(f"{JOBS}/{job_id}").status_code == 503
        postgres.execute(text(f'alter database "{name}" allow_connections true'))
        client.fine_tuning.jobs.cancel(job_id)
        assert [json.loads(next(coming)["data"])["message"]] == ["The job was cancelled."]
    admin.dispose()
