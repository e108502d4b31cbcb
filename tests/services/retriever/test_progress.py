"""Ingestions that are watched, stopped and gone on with, and texts that are embedded once."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Text, cast, func, select, update

from services.common.ids import new_id, now
from services.retriever import cache, ingestion
from services.retriever.embedding import Embedder
from services.retriever.embedding.local import LocalModel, identity_of
from services.retriever.models import DAY, Embedding, PassageVector
from tests.services.retriever.conftest import DIMENSIONS, Library, Retriever


class Counting(Embedder):
    """A model of its own that notes what it embeds, and calls ``each`` before it does."""

    def __init__(self, each: Any = lambda: None) -> None:
        super().__init__("counting", lambda: self)
        self.identity, self.dimensions = new_id("model"), DIMENSIONS
        self.texts: list[str] = []
        self._each = each

    def embed(self, texts: Sequence[str]) -> Any:
        self._each()
        self.texts.extend(texts)
        vectors = np.random.default_rng(len(self.texts)).normal(size=(len(texts), DIMENSIONS))
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def passages(count: int, prefix: str = "p") -> list[dict[str, Any]]:
    return [{"id": f"{prefix}{n}", "text": f"{prefix} {n} is here."} for n in range(count)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Passages a batch, so that a small ingestion has several."""
    monkeypatch.setattr(ingestion, "BATCH", 4)
    return 4


def act(retriever: Retriever, sent: dict[str, Any], action: str = "") -> dict[str, Any]:
    url = f"/v1/vector_stores/{sent['vector_store_id']}/ingestions/{sent['id']}"
    response = retriever.http.post(f"{url}/{action}") if action else retriever.http.get(url)
    assert response.status_code == 200, response.text
    return dict(response.json())


def stored(retriever: Retriever, sent: dict[str, Any], count: int) -> dict[str, Any]:
    """The ingestion once so many are searchable: a batch is stored beside the next one's work."""
    deadline = time.monotonic() + 30
    while (told := act(retriever, sent))["embedded"] < count:
        assert time.monotonic() < deadline, told
        time.sleep(0.01)
    return told


def vectors_in(retriever: Retriever, store_id: str) -> int:
    with retriever.db.transaction() as session:
        count = select(func.count()).where(PassageVector.store_id == store_id)
        return session.scalar(count) or 0


@pytest.fixture
def idle(retriever: Retriever) -> None:
    """Nothing else waits: other tests leave things behind."""
    with retriever.db.transaction() as session:
        session.execute(
            update(ingestion.Ingestion)
            .where(ingestion.Ingestion.status == "in_progress")
            .values(status="cancelled")
        )


def test_the_place_in_line_is_told_until_a_worker_has_it(
    retriever: Retriever, idle: None, few: int
) -> None:
    sent = [retriever.send(retriever.store(), passages(6, f"line{n}")) for n in range(3)]
    assert [act(retriever, each)["queue_position"] for each in sent] == [1, 2, 3]
    seen: list[dict[str, Any]] = []
    watching = Counting(lambda: seen.append({"first": act(retriever, sent[0])}))
    ingestion.embed(retriever.db, watching, sent[0]["id"])
    assert [look["first"]["queue_position"] for look in seen] == [None, None]
    assert [act(retriever, each)["queue_position"] for each in sent] == [None, 1, 2]
    listed = retriever.http.get(f"/v1/vector_stores/{sent[2]['vector_store_id']}/ingestions")
    assert listed.json()["data"][0]["queue_position"] == 2


def test_pace_and_time_left_are_told_from_the_first_batch_on(
    retriever: Retriever, few: int
) -> None:
    sent = retriever.send(retriever.store(), passages(10, "pace"))
    assert (sent["passages_per_second"], sent["seconds_left"]) == (None, None)
    seen: list[dict[str, Any]] = []
    watching = Counting(lambda: seen.append(stored(retriever, sent, len(watching.texts))))
    ingestion.embed(retriever.db, watching, sent["id"])
    assert [look["embedded"] for look in seen] == [0, 4, 8]
    assert seen[1]["seconds_left"] == pytest.approx(6 / seen[1]["passages_per_second"])
    done = act(retriever, sent)
    assert done["passages_per_second"] > 0
    assert done["seconds_left"] is None


def test_a_cancelled_ingestion_stops_and_goes_on_when_resumed(
    retriever: Retriever, few: int
) -> None:
    store_id = retriever.store()
    sent = retriever.send(store_id, passages(10, "stop"))

    def stop() -> None:
        if len(stopping.texts) == 4:
            stored(retriever, sent, 4)
            act(retriever, sent, "cancel")

    stopping = Counting(stop)
    ingestion.embed(retriever.db, stopping, sent["id"])
    stopped = act(retriever, sent)
    assert (stopped["status"], stopped["embedded"]) == ("cancelled", 4)
    assert stopped["finished_at"] is not None
    assert act(retriever, sent, "cancel")["status"] == "cancelled"
    assert vectors_in(retriever, store_id) == 4
    ingestion.embed(retriever.db, stopping, sent["id"])
    assert act(retriever, sent)["embedded"] == 4

    going_on = act(retriever, sent, "resume")
    assert (going_on["status"], going_on["finished_at"]) == ("in_progress", None)
    assert act(retriever, sent, "resume")["status"] == "in_progress"
    ingestion.embed(retriever.db, stopping, sent["id"])
    done = act(retriever, sent)
    assert (done["status"], done["embedded"]) == ("completed", 10)
    assert vectors_in(retriever, store_id) == 10
    # Only the batch that was under way when it was stopped is embedded again.
    assert stopping.texts[8:] == [f"stop {n} is here." for n in range(4, 10)]


def test_a_worker_that_missed_the_stop_does_not_write_beside_the_next(
    retriever: Retriever, few: int
) -> None:
    store_id = retriever.store()
    sent = retriever.send(store_id, passages(4, "beside"))

    def replaced() -> None:
        act(retriever, sent, "cancel")
        act(retriever, sent, "resume")
        ingestion.embed(retriever.db, Counting(), sent["id"])

    ingestion.embed(retriever.db, Counting(replaced), sent["id"])
    assert act(retriever, sent)["status"] == "completed"
    assert vectors_in(retriever, store_id) == 4


def test_what_failed_goes_on_when_resumed(retriever: Retriever) -> None:
    def broken() -> None:
        raise OSError("no memory")

    sent = retriever.send(retriever.store(), passages(2, "failed"))
    for _ in range(ingestion.MAX_ATTEMPTS + 1):
        ingestion.embed(retriever.db, Counting(broken), sent["id"])
    assert act(retriever, sent)["status"] == "failed"
    assert act(retriever, sent, "resume")["error"] is None
    retriever.embed(sent["id"])
    assert act(retriever, sent)["status"] == "completed"


@pytest.mark.parametrize("action", ["cancel", "resume"])
def test_what_is_completed_is_neither_stopped_nor_gone_on_with(
    retriever: Retriever, action: str
) -> None:
    sent = retriever.send(retriever.store(), passages(1, "done"))
    retriever.embed(sent["id"])
    url = f"/v1/vector_stores/{sent['vector_store_id']}/ingestions/{sent['id']}/{action}"
    refused = retriever.http.post(url)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "ingestion_ended")


def test_the_same_content_is_embedded_once_in_any_store(retriever: Retriever) -> None:
    embedder = Counting()
    texts = ["The same.", "Another.", "The same."]
    stores = [retriever.store() for _ in range(2)]
    for store_id in stores:
        sent = retriever.send(
            store_id, ({"id": str(n), "text": text} for n, text in enumerate(texts))
        )
        ingestion.embed(retriever.db, embedder, sent["id"])
        assert vectors_in(retriever, store_id) == 3
    assert embedder.texts == ["The same.", "Another."]
    with retriever.db.transaction() as session:
        first, second = (
            session.scalars(
                select(cast(PassageVector.embedding, Text))
                .where(PassageVector.store_id == store_id)
                .order_by(PassageVector.passage_pk)
            ).all()
            for store_id in stores
        )
        assert first == second


def test_another_model_embeds_for_itself(retriever: Retriever) -> None:
    for embedder in (Counting(), Counting()):
        sent = retriever.send(retriever.store(), passages(3, "model"))
        ingestion.embed(retriever.db, embedder, sent["id"])
        assert len(embedder.texts) == 3


def test_a_model_is_known_by_its_weights(retriever: Retriever) -> None:
    again = LocalModel(retriever.settings)
    assert again.identity == retriever.embedder.identity
    weight: Any = next(again._model.parameters())
    weight.data[0, 0] += 1
    assert identity_of(again._model) != again.identity


def test_vectors_nobody_asks_for_are_forgotten(retriever: Retriever) -> None:
    embedder = Counting()

    def embed() -> None:
        sent = retriever.send(retriever.store(), passages(2, "old"))
        ingestion.embed(retriever.db, embedder, sent["id"])

    def age(days: int) -> None:
        with retriever.db.transaction() as session:
            session.execute(
                update(Embedding)
                .where(Embedding.model == embedder.identity)
                .values(used_at=now() - days * DAY)
            )

    def forgotten() -> int:
        with retriever.db.transaction() as session:
            return cache.forget(session, days=30)

    embed()
    age(29)
    assert forgotten() == 0
    embed()  # asked for again: the days begin anew
    with retriever.db.transaction() as session:
        mine = Embedding.model == embedder.identity
        assert session.scalar(select(func.min(Embedding.used_at)).where(mine)) > now() - DAY
    age(31)
    assert forgotten() == 2
    embed()
    assert len(embedder.texts) == 4


def test_passages_are_deleted_by_id(retriever: Retriever) -> None:
    store_id = retriever.fill(passages(4, "gone"))
    url = f"/v1/vector_stores/{store_id}/passages"
    answer = retriever.http.post(f"{url}/delete", json={"ids": ["gone1", "gone3", "nowhere"]})
    assert answer.json() == {
        "object": "vector_store.passages.deleted",
        "vector_store_id": store_id,
        "deleted": 2,
    }
    left = retriever.http.get(f"/v1/vector_stores/{store_id}").json()
    assert (left["passages"], left["usage_bytes"]) == (2, 2 * len("gone 0 is here."))
    assert sorted(retriever.search(store_id, "gone")) == ["gone0", "gone2"]


def test_passages_are_deleted_by_filter_and_waiting_ones_too(retriever: Retriever) -> None:
    years = [{"id": str(n), "text": "A report.", "attributes": {"year": n}} for n in range(5)]
    store_id = retriever.fill(years[:3])
    waiting = retriever.send(store_id, years[3:])
    older: Any = {"type": "gte", "key": "year", "value": 2}
    url = f"/v1/vector_stores/{store_id}/passages/delete"
    assert retriever.http.post(url, json={"filters": older}).json()["deleted"] == 3
    retriever.embed(waiting["id"])
    assert act(retriever, waiting)["status"] == "completed"
    left = retriever.http.get(f"/v1/vector_stores/{store_id}").json()
    assert (left["passages"], left["usage_bytes"]) == (2, 2 * len("A report."))


def test_passages_of_files_go_with_their_files_only(library: Library) -> None:
    retriever, file_id = library.retriever, library.upload("a.txt", "The anvil rings.")
    store_id = library.client.vector_stores.create(file_ids=[file_id]).id
    library.work()
    url = f"/v1/vector_stores/{store_id}/passages/delete"
    every: Any = {"type": "ne", "key": "nothing", "value": 1}
    for ask in ({"ids": [f"{file_id}#0"]}, {"filters": every}):
        assert retriever.http.post(url, json=ask).json()["deleted"] == 0
    assert retriever.search(store_id, "anvil") == [f"{file_id}#0"]


def test_a_file_of_passages_is_ingested_like_a_body_of_them(library: Library) -> None:
    lines = '{"id":"a","text":"The anvil rings.","attributes":{"n":1}}\n\n{"id":"b","text":"Hush."}'
    retriever, file_id = library.retriever, library.upload("passages.jsonl", lines)
    store_id = retriever.store()
    url = f"/v1/vector_stores/{store_id}/ingestions"
    response = retriever.http.post(url, json={"file_id": file_id})
    assert response.status_code == 202
    sent = response.json()
    assert (sent["file_id"], sent["received"], sent["status"]) == (file_id, 0, "in_progress")
    library.work()
    done = act(retriever, sent)
    assert (done["status"], done["received"], done["embedded"]) == ("completed", 2, 2)
    ringing: Any = {"type": "eq", "key": "n", "value": 1}
    assert retriever.search(store_id, "anvil", filters=ringing) == ["a"]
    assert library.client.vector_stores.files.list(store_id).data == []


@pytest.mark.parametrize(
    "form",
    [
        "/v1/files/{}/content",
        "https://fineproof.example:8443/v1/files/{}/content",
        "http://127.0.0.1:1/behind/a/proxy/v1/files/{}",
    ],
)
def test_a_file_of_passages_is_named_by_its_url(library: Library, form: str) -> None:
    retriever, file_id = library.retriever, library.upload("p.jsonl", '{"id":"a","text":"Anvil."}')
    path = f"/v1/vector_stores/{retriever.store()}/ingestions"
    sent = retriever.http.post(path, json={"url": form.format(file_id)}).json()
    assert sent["file_id"] == file_id
    library.work()
    assert act(retriever, sent)["embedded"] == 1


def test_a_url_of_a_file_that_is_not_there_is_said_to_be_missing(library: Library) -> None:
    path = f"/v1/vector_stores/{library.retriever.store()}/ingestions"
    response = library.retriever.http.post(path, json={"url": "/v1/files/gone/content"})
    assert response.status_code == 404
    error = response.json()["error"]
    assert (error["code"], error["param"]) == ("file_not_found", "url")


def test_a_file_of_passages_with_a_bad_line_brings_nothing(library: Library) -> None:
    retriever = library.retriever
    store_id = retriever.fill([{"id": "a", "text": "It stays."}])
    file_id = library.upload("bad.jsonl", '{"id":"a","text":"new"}\n{"id":"b"}\n')
    url = f"/v1/vector_stores/{store_id}/ingestions"
    sent = retriever.http.post(url, json={"file_id": file_id}).json()
    library.work()
    failed = act(retriever, sent)
    assert failed["status"] == "failed"
    assert "Line 2: 'text' is missing" in failed["error"]
    passage = retriever.http.get(f"/v1/vector_stores/{store_id}/passages/a").json()
    assert passage["text"] == "It stays."
