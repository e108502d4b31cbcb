import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import httpx
import openai
import pytest
from sqlalchemy import update

from services.trainer import storage, upload_storage
from services.trainer.models import Upload
from services.trainer.running.attempt import Workshop
from services.trainer.running.housekeeping import clear_uploads
from services.trainer.uploads import PART_BYTES
from tests.services.trainer.conftest import BASE, jsonl, pairs

CONTENT = jsonl(pairs(40))
THIRDS = [CONTENT[: len(CONTENT) // 3], CONTENT[len(CONTENT) // 3 :]]


@pytest.fixture
def upload_id(client: openai.OpenAI) -> str:
    return client.uploads.create(
        bytes=len(CONTENT),
        filename="träin.jsonl",
        mime_type="text/jsonl",
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    ).id


@pytest.fixture
def send(client: openai.OpenAI, upload_id: str) -> Callable[..., list[str]]:
    def parts(contents: Sequence[bytes] = THIRDS) -> list[str]:
        return [
            client.uploads.parts.create(upload_id, data=("part", content)).id
            for content in contents
        ]

    return parts


def in_store(workshop: Workshop) -> list[str]:
    root = Path(workshop.store.url.removeprefix("file://"))
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def expire(workshop: Workshop, upload_id: str) -> None:
    with workshop.db.transaction() as session:
        past = storage.now() - timedelta(seconds=1)
        session.execute(update(Upload).where(Upload.id == upload_id).values(expires_at=past))


def test_parts_become_an_ordinary_file(
    client: openai.OpenAI, upload_id: str, send: Callable[..., list[str]]
) -> None:
    second, first = send(THIRDS[::-1])
    done = client.uploads.complete(
        upload_id, part_ids=[first, second], md5=hashlib.md5(CONTENT).hexdigest()
    )
    assert done.status == "completed"
    assert done.expires_at == done.created_at + 3600
    assert done.file is not None
    assert done.file == client.files.retrieve(done.file.id)
    assert (done.file.bytes, done.file.filename) == (len(CONTENT), "träin.jsonl")
    assert done.file.expires_at == done.file.created_at + 3600
    assert done.file.model_extra is not None
    assert done.file.model_extra["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert client.files.content(done.file.id).content == CONTENT
    job = client.fine_tuning.jobs.create(model=BASE, training_file=done.file.id)
    assert job.training_file == done.file.id


def test_the_stock_client_sends_a_file_in_parts(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(CONTENT)
    done = client.uploads.upload_file_chunked(
        file=path, mime_type="text/jsonl", purpose="fine-tune", part_size=100
    )
    assert done.file is not None
    assert client.files.content(done.file.id).content == CONTENT


def test_completing_twice_is_one_completing(
    client: openai.OpenAI, upload_id: str, send: Callable[..., list[str]]
) -> None:
    parts = send()
    with ThreadPoolExecutor(4) as pool:
        done = list(
            pool.map(lambda _: client.uploads.complete(upload_id, part_ids=parts), range(4))
        )
    assert done == [done[0]] * 4
    assert len(client.files.list().data) == 1


def refused(client: openai.OpenAI, upload_id: str, **ask: object) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as error:
        client.uploads.complete(upload_id, **ask)  # type: ignore[arg-type]
    assert not client.files.list().data
    return error.value


def test_a_whole_that_is_not_what_was_said_is_refused_and_can_be_mended(
    client: openai.OpenAI, workshop: Workshop, upload_id: str, send: Callable[..., list[str]]
) -> None:
    damaged, good, last = send([b"x" * len(THIRDS[0]), *THIRDS])
    md5 = hashlib.md5(CONTENT).hexdigest()
    assert refused(client, upload_id, part_ids=[last]).code == "upload_size_mismatch"
    assert refused(client, upload_id, part_ids=["part_none"]).code == "part_not_found"
    assert refused(client, upload_id, part_ids=[good, good]).code == "invalid_value"
    assert refused(client, upload_id, part_ids=[damaged, last], md5=md5).code == "md5_mismatch"
    assert not [key for key in in_store(workshop) if key.startswith("files/")]
    done = client.uploads.complete(upload_id, part_ids=[good, last], md5=md5)
    assert done.status == "completed"


def test_a_cancelled_upload_takes_no_more(
    client: openai.OpenAI, upload_id: str, send: Callable[..., list[str]]
) -> None:
    parts = send()
    assert client.uploads.cancel(upload_id).status == "cancelled"
    assert client.uploads.cancel(upload_id).status == "cancelled"
    assert refused(client, upload_id, part_ids=parts).code == "upload_cancelled"
    with pytest.raises(openai.ConflictError):
        send()


def test_an_upload_lives_for_an_hour(
    client: openai.OpenAI,
    workshop: Workshop,
    upload_id: str,
    send: Callable[..., list[str]],
) -> None:
    parts = send()
    expire(workshop, upload_id)
    assert refused(client, upload_id, part_ids=parts).code == "upload_expired"
    for late in (send, lambda: client.uploads.cancel(upload_id)):
        with pytest.raises(openai.ConflictError) as error:
            late()
        assert error.value.code == "upload_expired"


@pytest.mark.parametrize("ending", ["completed", "cancelled", "expired"])
def test_the_parts_of_an_upload_that_ended_are_removed(
    client: openai.OpenAI,
    workshop: Workshop,
    upload_id: str,
    send: Callable[..., list[str]],
    ending: str,
) -> None:
    parts = send()
    clear_uploads(workshop.db, workshop.store)
    assert len(in_store(workshop)) == 2  # it is pending
    kept = []
    if ending == "completed":
        file = client.uploads.complete(upload_id, part_ids=parts).file
        kept = [f"files/{file.id}"] if file else []
    elif ending == "cancelled":
        client.uploads.cancel(upload_id)
    else:
        expire(workshop, upload_id)
    clear_uploads(workshop.db, workshop.store)
    assert in_store(workshop) == kept
    with workshop.db.transaction() as session:
        assert not upload_storage.parts_of(session, upload_id)
        assert session.get_one(Upload, upload_id).cleared


def test_what_a_killed_completion_left_goes_with_the_upload(
    workshop: Workshop, client: openai.OpenAI, upload_id: str
) -> None:
    with workshop.db.transaction() as session:
        key = session.get_one(Upload, upload_id).file_key
    root = Path(workshop.store.url.removeprefix("file://"))
    (root / "files").mkdir(exist_ok=True)
    (root / f"{key}.partial").write_bytes(b"half")
    client.uploads.cancel(upload_id)
    clear_uploads(workshop.db, workshop.store)
    assert in_store(workshop) == []


def test_parts_are_bounded_in_size_and_in_sum(
    http: httpx.Client, client: openai.OpenAI, send: Callable[..., list[str]]
) -> None:
    for _ in range(2):
        send()
    with pytest.raises(openai.BadRequestError) as error:
        send([b"x"])
    assert error.value.code == "too_many_parts"
    large = client.uploads.create(
        bytes=8 * 2**30, filename="a", mime_type="text/plain", purpose="evals"
    )
    for size, status in ((PART_BYTES, 200), (PART_BYTES + 1, 413), (PART_BYTES + 2**20, 413)):
        answer = http.post(f"/v1/uploads/{large.id}/parts", files={"data": ("a", bytes(size))})
        assert answer.status_code == status, answer.text


def test_a_file_over_the_limit_is_refused_before_its_parts(client: openai.OpenAI) -> None:
    with pytest.raises(openai.APIStatusError) as error:
        client.uploads.create(
            bytes=8 * 2**30 + 1, filename="a", mime_type="text/plain", purpose="evals"
        )
    assert (error.value.status_code, error.value.param) == (413, "bytes")
