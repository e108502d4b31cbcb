"""Vector stores by the stock ``openai`` client."""

import openai
import pytest

from tests.services.retriever.conftest import Retriever


@pytest.fixture
def client(retriever: Retriever) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{retriever.url}/v1", api_key="any", max_retries=0)


def test_a_store_is_created_read_changed_and_deleted(client: openai.OpenAI) -> None:
    made = client.vector_stores.create(name="handbook", metadata={"team": "docs"})
    assert made.object == "vector_store"
    assert made.status == "completed"
    assert client.vector_stores.retrieve(made.id) == made

    changed = client.vector_stores.update(made.id, name="manual")
    assert (changed.name, changed.metadata) == ("manual", {"team": "docs"})
    assert client.vector_stores.update(made.id, metadata={}).metadata == {}

    gone = client.vector_stores.delete(made.id)
    assert (gone.id, gone.deleted, gone.object) == (made.id, True, "vector_store.deleted")
    with pytest.raises(openai.NotFoundError):
        client.vector_stores.retrieve(made.id)


def test_an_explicit_null_clears_a_name(client: openai.OpenAI) -> None:
    made = client.vector_stores.create(name="handbook", metadata={"a": "b"})
    changed = client.vector_stores.update(made.id, name=None)
    assert (changed.name, changed.metadata) == (None, {"a": "b"})


def test_the_client_pages_through_all_stores_newest_first(client: openai.OpenAI) -> None:
    made = [client.vector_stores.create(name=f"page-{n}").id for n in range(5)]
    listed = [store.id for store in client.vector_stores.list(limit=2)]
    assert [key for key in listed if key in made] == made[::-1]
    assert len(listed) == len(set(listed))
    ascending = [store.id for store in client.vector_stores.list(limit=3, order="asc")]
    assert ascending == listed[::-1]


def test_the_client_searches(client: openai.OpenAI, retriever: Retriever) -> None:
    store_id = retriever.fill(
        [
            {
                "id": "p1",
                "doc_id": "d1",
                "title": "Boiler",
                "text": "The boiler is serviced in May.",
                "attributes": {"site": "north", "year": 2024},
            },
            {"id": "p2", "title": "Menu", "text": "Lunch is soup on Mondays."},
        ]
    )
    page = client.vector_stores.search(
        store_id,
        query="When is the heating checked?",
        max_num_results=1,
        rewrite_query=False,
        filters={"type": "eq", "key": "site", "value": "north"},
        ranking_options={"ranker": "auto", "score_threshold": 0.1},
    )
    [found] = page.data
    assert (found.file_id, found.filename) == ("d1", "Boiler")
    assert found.content[0].text == "The boiler is serviced in May."
    assert found.attributes == {"site": "north", "year": 2024.0}
    assert 0.1 <= found.score <= 1


def test_a_store_counts_what_it_holds(client: openai.OpenAI, retriever: Retriever) -> None:
    store_id = retriever.store()
    sent = retriever.send(store_id, [{"id": "a", "text": "é"}, {"id": "b", "text": "bb"}])
    waiting = client.vector_stores.retrieve(store_id)
    assert (waiting.status, waiting.usage_bytes) == ("in_progress", 4)
    assert waiting.file_counts.in_progress == 1
    assert waiting.model_dump()["passages"] == 0

    retriever.embed(sent["id"])
    full = client.vector_stores.retrieve(store_id)
    assert (full.status, full.file_counts.completed, full.file_counts.total) == ("completed", 1, 1)
    assert full.model_dump()["passages"] == 2
