import hashlib
from collections.abc import Callable
from datetime import timedelta

import httpx
import openai
import pytest
from sqlalchemy import update

from services.trainer import storage
from services.trainer.models import File
from services.trainer.running.attempt import Workshop
from services.trainer.running.housekeeping import clear_expired_files
from tests.services.trainer.conftest import BASE, jsonl, pairs

Upload = Callable[..., str]


def test_a_file_comes_back_as_it_was_sent(client: openai.OpenAI) -> None:
    content = jsonl(pairs(12))
    sent = client.files.create(file=("träin.jsonl", content), purpose="fine-tune")
    assert sent.bytes == len(content)
    assert sent.filename == "träin.jsonl"
    assert sent.status == "processed"
    assert sent.model_extra is not None
    assert sent.model_extra["sha256"] == hashlib.sha256(content).hexdigest()
    assert client.files.retrieve(sent.id) == sent
    assert client.files.content(sent.id).content == content


def test_the_name_of_a_file_loses_its_folders(http: httpx.Client) -> None:
    files = {"file": ("../../etc/pass\nwd", b"x")}
    answer = http.post("/v1/files", files=files, data={"purpose": "evals"}).json()
    assert "/" not in answer["filename"]
    assert "\n" not in answer["filename"]


def test_files_are_listed_by_purpose_page_by_page(client: openai.OpenAI, upload: Upload) -> None:
    training = [upload(pairs(10)) for _ in range(5)]
    other = upload(pairs(10), "evals")
    assert [file.id for file in client.files.list(purpose="evals")] == [other]
    listed = [file.id for file in client.files.list(purpose="fine-tune", limit=2)]
    assert listed == training[::-1]
    ascending = client.files.list(limit=2, order="asc")
    assert [file.id for file in ascending] == [*training, other]


def test_an_empty_file_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("empty.jsonl", b""), purpose="fine-tune")
    assert refused.value.code == "empty_file"
    assert not client.files.list().data


def test_a_file_over_the_limit_is_refused_before_and_while_it_is_read(http: httpx.Client) -> None:
    body = {"files": {"file": ("big", b"x" * 2**21)}, "data": {"purpose": "fine-tune"}}
    told = http.build_request("POST", "/v1/files", **body)  # type: ignore[arg-type]
    untold = httpx.Request(
        "POST",
        told.url,
        headers={"Content-Type": told.headers["Content-Type"]},
        content=iter([told.read()]),
    )
    for request in (told, untold):
        answer = http.send(request)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "too_large"


def test_a_deleted_file_is_gone(client: openai.OpenAI, upload: Upload) -> None:
    file_id = upload(pairs(10))
    assert client.files.delete(file_id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(file_id)


def test_a_file_that_a_job_reads_cannot_be_deleted(client: openai.OpenAI, upload: Upload) -> None:
    file_id = upload(pairs(10))
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file_id)
    with pytest.raises(openai.ConflictError) as refused:
        client.files.delete(file_id)
    assert job.id in refused.value.message
    client.fine_tuning.jobs.cancel(job.id)
    assert client.files.delete(file_id).deleted


def expire(workshop: Workshop, file_id: str) -> None:
    with workshop.db.transaction() as session:
        past = storage.now() - timedelta(seconds=1)
        session.execute(update(File).where(File.id == file_id).values(expires_at=past))


def test_a_file_says_when_it_expires(client: openai.OpenAI) -> None:
    sent = client.files.create(
        file=("a.jsonl", b"{}"),
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert sent.expires_at == sent.created_at + 3600
    assert client.files.retrieve(sent.id) == sent


def test_an_expired_file_is_gone(client: openai.OpenAI, workshop: Workshop, upload: Upload) -> None:
    file_id = upload(pairs(10))
    expire(workshop, file_id)
    assert not client.files.list().data
    for ask in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            ask(file_id)
    with pytest.raises(openai.NotFoundError) as refused:
        client.fine_tuning.jobs.create(model=BASE, training_file=file_id)
    assert refused.value.param == "training_file"


def test_an_expired_file_is_swept_once_no_job_reads_it(
    client: openai.OpenAI, workshop: Workshop, upload: Upload
) -> None:
    read, unread, kept = (upload(pairs(10)) for _ in range(3))
    job = client.fine_tuning.jobs.create(model=BASE, training_file=read)
    for file_id in (read, unread):
        expire(workshop, file_id)

    def there() -> list[str]:
        clear_expired_files(workshop.db, workshop.store)
        with workshop.db.transaction() as session:
            rows = [each for each in (read, unread, kept) if storage.get_file(session, each)]
        assert rows == [each for each in (read, unread, kept) if in_store(workshop, each)]
        return rows

    assert there() == [read, kept]
    client.fine_tuning.jobs.cancel(job.id)
    assert there() == [kept]


def in_store(workshop: Workshop, file_id: str) -> bool:
    return workshop.store.exists(File(id=file_id).key)
