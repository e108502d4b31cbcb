from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select, text

from services.common import leases
from services.retriever import ingestion
from services.retriever.embedding import Embedder, Model
from services.retriever.models import Ingestion, Passage, PassageVector
from tests.services.retriever.conftest import Retriever


def passages(count: int, prefix: str = "p") -> list[dict[str, Any]]:
    return [
        {"id": f"{prefix}{n}", "text": f"Item {n} lies on shelf {n * 7}."} for n in range(count)
    ]


def ingestion_of(retriever: Retriever, sent: dict[str, Any]) -> dict[str, Any]:
    response = retriever.http.get(
        f"/v1/vector_stores/{sent['vector_store_id']}/ingestions/{sent['id']}"
    )
    assert response.status_code == 200
    return dict(response.json())


def passages_in(retriever: Retriever, store_id: str) -> int:
    return int(retriever.http.get(f"/v1/vector_stores/{store_id}").json()["passages"])


def test_passages_are_stored_at_once_and_searchable_when_embedded(retriever: Retriever) -> None:
    store_id = retriever.store()
    sent = retriever.send(store_id, passages(10))
    assert (sent["status"], sent["received"], sent["embedded"]) == ("in_progress", 10, 0)
    assert retriever.search(store_id, "Item 3") == []

    retriever.embed(sent["id"])
    done = ingestion_of(retriever, sent)
    assert (done["status"], done["received"], done["embedded"]) == ("completed", 10, 10)
    assert done["finished_at"] >= done["created_at"]
    assert "p3" in retriever.search(store_id, "Item 3")


def test_passages_are_read_back_in_the_order_asked_for(retriever: Retriever) -> None:
    store_id = retriever.store()
    retriever.send(store_id, [*passages(3), {"id": "x y%", "text": "t", "attributes": {"n": 1}}])
    base = f"/v1/vector_stores/{store_id}/passages"
    found = retriever.http.post(f"{base}/get", json={"ids": ["p2", "gone", "p0", "p2"]}).json()
    assert [passage["id"] for passage in found["data"]] == ["p2", "p0", "p2"]
    assert found["missing"] == ["gone"]

    one = retriever.http.get(f"{base}/x y%25").json()
    expected = {"id": "x y%", "doc_id": "x y%", "title": "", "text": "t", "attributes": {"n": 1.0}}
    assert one == expected


def test_a_passage_sent_again_replaces_the_old_one(retriever: Retriever) -> None:
    store_id = retriever.fill([{"id": "a", "text": "The pump is red."}, *passages(3)])
    sent = retriever.send(
        store_id, [{"id": "a", "text": "Zebras graze at dawn.", "attributes": {"kind": "animal"}}]
    )
    assert (sent["received"], sent["embedded"]) == (1, 0)
    assert passages_in(retriever, store_id) == 3

    retriever.embed(sent["id"])
    assert passages_in(retriever, store_id) == 4
    assert retriever.search(store_id, "animals eating grass", mode="vector")[0] == "a"
    assert "a" not in retriever.search(store_id, "red pump", mode="text")


def test_unchanged_texts_keep_their_vectors(retriever: Retriever) -> None:
    store_id = retriever.fill(passages(4))
    again = [{**passage, "attributes": {"seen": True}} for passage in passages(4)]
    sent = retriever.send(store_id, again)
    assert (sent["status"], sent["embedded"]) == ("completed", 4)
    only_seen = {"key": "seen", "type": "eq", "value": True}
    assert len(retriever.search(store_id, "shelf", filters=only_seen)) == 4


def test_the_last_line_of_an_id_wins(retriever: Retriever) -> None:
    store_id = retriever.store()
    sent = retriever.send(store_id, [{"id": "a", "text": "old"}, {"id": "a", "text": "new"}])
    assert sent["received"] == 1
    passage = retriever.http.get(f"/v1/vector_stores/{store_id}/passages/a").json()
    assert passage["text"] == "new"


def test_the_same_id_lives_in_two_stores(retriever: Retriever) -> None:
    cats, dogs = (
        retriever.fill([{"id": "a", "text": f"All about {x}."}]) for x in ("cats", "dogs")
    )
    assert (
        retriever.http.get(f"/v1/vector_stores/{cats}/passages/a").json()["text"].endswith("cats.")
    )
    assert retriever.search(dogs, "cats") == ["a"]
    assert (
        retriever.http.get(f"/v1/vector_stores/{dogs}/passages/a").json()["text"].endswith("dogs.")
    )


def test_a_bad_line_keeps_everything_out(retriever: Retriever) -> None:
    store_id = retriever.store()

    def body() -> Iterator[bytes]:
        for n in range(5_000):
            yield b'{"id":"p%d","text":"fine"}\n' % n
        yield b'{"id":"q","text":7}\n'
        for n in range(200_000):  # the sender goes on after the line at fault
            yield b'{"id":"r%d","text":"fine"}\n' % n

    response = retriever.http.post(f"/v1/vector_stores/{store_id}/passages", content=body())
    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith("Line 5001: 'text'")
    asked = {"ids": ["p0", "p4999"]}
    found = retriever.http.post(f"/v1/vector_stores/{store_id}/passages/get", json=asked).json()
    assert found["missing"] == ["p0", "p4999"]
    listed = retriever.http.get(f"/v1/vector_stores/{store_id}/ingestions").json()
    assert listed["data"] == []


def test_ingestions_are_listed_by_page(retriever: Retriever) -> None:
    store_id = retriever.store()
    sent = [retriever.send(store_id, passages(1, prefix=f"{n}-"))["id"] for n in range(3)]
    base = f"/v1/vector_stores/{store_id}/ingestions"
    first = retriever.http.get(base, params={"limit": 2}).json()
    assert [item["id"] for item in first["data"]] == sent[:0:-1]
    assert first["has_more"]
    rest = retriever.http.get(base, params={"limit": 2, "after": first["last_id"]}).json()
    assert [item["id"] for item in rest["data"]] == sent[:1]


def test_a_deleted_store_takes_all_it_held_along(retriever: Retriever) -> None:
    store_id = retriever.fill(passages(3))
    retriever.send(store_id, passages(2, prefix="waiting"))
    assert retriever.http.delete(f"/v1/vector_stores/{store_id}").status_code == 200
    with retriever.db.transaction() as session:
        for table in (Passage, PassageVector, Ingestion):
            rows = select(func.count()).where(table.store_id == store_id)
            assert session.scalar(rows) == 0


def test_a_passage_of_as_many_words_as_fit_is_stored(retriever: Retriever) -> None:
    # Each pair is three words to PostgreSQL: nearly the megabyte that a tsvector may hold.
    heavy = " ".join(f"{chr(0x20000 + n)}-{chr(0x27000 + n)}" for n in range(25_000))
    sent = retriever.send(retriever.store(), [{"id": "a", "title": heavy[:1_000], "text": heavy}])
    assert sent["received"] == 1


def failing() -> Embedder:
    """Stands where a model's files have gone missing."""

    def opening() -> Model:
        raise OSError("the model's folder is gone")

    return Embedder("gone", opening)


def test_an_ingestion_that_keeps_failing_ends_as_failed_and_says_why(retriever: Retriever) -> None:
    store_id = retriever.store()
    sent = retriever.send(store_id, passages(2))
    for _ in range(ingestion.MAX_ATTEMPTS):
        ingestion.embed(retriever.db, failing(), sent["id"])
        assert ingestion_of(retriever, sent)["status"] == "in_progress"
    ingestion.embed(retriever.db, failing(), sent["id"])
    failed = ingestion_of(retriever, sent)
    assert failed["status"] == "failed"
    assert "folder is gone" in failed["error"]

    again = retriever.send(store_id, passages(2))
    retriever.embed(again["id"])
    assert passages_in(retriever, store_id) == 2


def test_a_failed_attempt_leaves_the_ingestion_to_the_next_worker(retriever: Retriever) -> None:
    sent = retriever.send(retriever.store(), passages(2))
    ingestion.embed(retriever.db, failing(), sent["id"])
    assert (ingestion.EMBED, sent["id"]) in ingestion.waiting(retriever.db)
    retriever.embed(sent["id"])
    done = ingestion_of(retriever, sent)
    assert (done["status"], done["error"]) == ("completed", None)


def test_a_message_that_comes_twice_is_worked_on_once(retriever: Retriever) -> None:
    sent = retriever.send(retriever.store(), passages(2))
    with retriever.db.transaction() as session:
        assert leases.claim(
            session, Ingestion, sent["id"], owner="other", statuses=("in_progress",)
        )
    retriever.embed(sent["id"])
    assert ingestion_of(retriever, sent)["embedded"] == 0


def test_work_goes_on_where_a_dead_worker_stopped(
    retriever: Retriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingestion, "BATCH", 4)
    texts = (f"Item {n} outlives its worker." for n in range(10))
    sent = retriever.send(
        retriever.store(), [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    )
    embedded: list[str] = []

    class Dying(Embedder):
        def embed(self, texts: Any) -> Any:
            if len(embedded) >= 4:
                raise SystemExit("killed")
            embedded.extend(texts)
            return retriever.embedder.embed(texts)

    with pytest.raises(SystemExit):
        ingestion.embed(retriever.db, Dying("any", retriever.embedder.check), sent["id"])
    assert ingestion_of(retriever, sent)["embedded"] == 4
    assert (ingestion.EMBED, sent["id"]) not in ingestion.waiting(retriever.db)

    with retriever.db.transaction() as session:  # the lease of a dead worker runs out
        session.execute(
            text("update retriever.ingestions set lease_expires_at = now() where id = :id"),
            {"id": sent["id"]},
        )
    assert (ingestion.EMBED, sent["id"]) in ingestion.waiting(retriever.db)
    retriever.embed(sent["id"])
    assert ingestion_of(retriever, sent)["embedded"] == 10
    assert passages_in(retriever, sent["vector_store_id"]) == 10


def test_a_passage_replaced_while_it_is_embedded_gets_the_new_texts_vector(
    retriever: Retriever,
) -> None:
    store_id = retriever.store()
    first = retriever.send(store_id, [{"id": "a", "text": "The lathe is green."}])
    later: dict[str, Any] = {}

    class Slow(Embedder):
        def embed(self, texts: Any) -> Any:
            vectors = retriever.embedder.embed(texts)
            later.update(retriever.send(store_id, [{"id": "a", "text": "Zebras graze at dawn."}]))
            return vectors

    ingestion.embed(retriever.db, Slow("any", retriever.embedder.check), first["id"])
    assert passages_in(retriever, store_id) == 0
    assert ingestion_of(retriever, first)["status"] == "completed"
    retriever.embed(later["id"])
    found = retriever.http.post(
        f"/v1/vector_stores/{store_id}/search",
        json={"query": "Zebras graze at dawn.", "mode": "vector"},
    ).json()
    assert found["data"][0]["score"] > 0.95
