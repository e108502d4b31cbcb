"""``Idempotency-Key``: asking again for the same is asking once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from fastapi.testclient import TestClient

from services.trainer.main import create_app
from services.trainer.settings import TrainerSettings
from tests.services.trainer.conftest import BASE, pairs
from tests.services.trainer.test_keys import key

Upload = Callable[..., str]

JOBS = "/v1/fine_tuning/jobs"


@pytest.fixture
def create(client: openai.OpenAI, upload: Upload) -> Callable[..., str]:
    file_id = upload(pairs(10))

    def send(idempotency_key: str, **more: Any) -> str:
        return client.fine_tuning.jobs.create(
            model=BASE,
            training_file=file_id,
            extra_headers={"Idempotency-Key": idempotency_key},
            **more,
        ).id

    return send


def test_the_same_key_gives_the_same_job(client: openai.OpenAI, create: Callable[..., str]) -> None:
    first = create("a")
    assert create("a") == first
    assert create("b") != first
    assert len(client.fine_tuning.jobs.list().data) == 2
    assert len(client.fine_tuning.jobs.list_events(first).data) == 1


def test_the_same_key_gives_the_same_job_when_its_file_is_gone(
    client: openai.OpenAI, create: Callable[..., str]
) -> None:
    job = client.fine_tuning.jobs.retrieve(create("a"))
    client.fine_tuning.jobs.cancel(job.id)
    client.files.delete(job.training_file)
    assert create("a") == job.id


def test_the_same_key_with_another_body_is_refused(create: Callable[..., str]) -> None:
    first = create("a")
    with pytest.raises(openai.ConflictError) as refused:
        create("a", seed=2)
    assert refused.value.code == "idempotency_key_reused"
    assert first in refused.value.message


def test_of_requests_at_once_one_makes_the_job(http: httpx.Client, upload: Upload) -> None:
    ask = {"model": BASE, "training_file": upload(pairs(10))}

    def send(_: int) -> httpx.Response:
        return http.post(JOBS, json=ask, headers={"Idempotency-Key": "race"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert len(http.get(JOBS).json()["data"]) == 1


def test_another_caller_s_key_is_another_key(settings: TrainerSettings) -> None:
    keys = (key("ann", "read", "write"), key("ben", "read", "write"))
    locked = settings.model_copy(
        update={"mode": "production", "api_keys": keys, "max_unfinished_jobs_per_caller": 1}
    )
    ann, ben = ({"Authorization": f"Bearer {name}"} for name in ("ann", "ben"))
    with TestClient(create_app(locked)) as http:
        sent = http.post(
            "/v1/files",
            files={"file": ("a.jsonl", b"{}")},
            data={"purpose": "fine-tune"},
            headers=ann,
        )
        ask = {"model": BASE, "training_file": sent.json()["id"]}
        jobs = [
            http.post(JOBS, json=ask, headers=caller | {"Idempotency-Key": "same"})
            for caller in (ann, ben, ann)
        ]
        assert [job.status_code for job in jobs] == [200, 200, 200]
        assert jobs[0].json()["id"] == jobs[2].json()["id"] != jobs[1].json()["id"]

        # One unfinished job a caller: the next is one too many, until the first has ended.
        refused = http.post(JOBS, json=ask, headers=ann)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "too_many_jobs")
        assert refused.headers["Retry-After"] == "60"
        http.post(f"{JOBS}/{jobs[0].json()['id']}/cancel", headers=ann)
        assert http.post(JOBS, json=ask, headers=ann).status_code == 200
