"""Vectors of several sizes in one table."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, func, select, text

from services.common.contracts.retriever import SearchAsk
from services.common.db import Database, Reader
from services.retriever import candidates, main, service, vector_index
from services.retriever.searching import Searches
from tests.services.common.conftest import line
from tests.services.retriever.conftest import Retriever
from tests.services.retriever.test_search import _insert


def indexes(retriever: Retriever, size: int) -> int:
    with retriever.db.transaction() as session:
        found = session.execute(
            text("select indexdef from pg_indexes where indexname = :name"),
            {"name": f"ix_passage_vectors_embedding_{size}"},
        )
        return len(found.all())


def plan(retriever: Retriever, store_id: str, vectors: Any) -> str:
    """How PostgreSQL answers what ``nearest`` asks."""
    asked: list[tuple[str, Any]] = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    with retriever.db.transaction() as session:
        for name, value in candidates.breadth(100).items():
            session.execute(select(func.set_config(name, value, True)))
        event.listen(retriever.db.engine, "before_cursor_execute", note)
        try:
            candidates.nearest(session, store_id, vectors, None, limit=10)
        finally:
            event.remove(retriever.db.engine, "before_cursor_execute", note)
        [(statement, parameters)] = asked
        explained = session.connection().exec_driver_sql(f"explain {statement}", parameters)
        return "\n".join(row[0] for row in explained)


@pytest.mark.parametrize("size", [16, 24])
def test_each_size_is_searched_by_its_own_index(retriever: Retriever, size: int) -> None:
    random = np.random.default_rng(size)
    store_id = retriever.store()
    vectors = random.normal(size=(4_000, size)).astype(np.float32)
    _insert(retriever, store_id, vectors)
    with retriever.db.transaction() as session:
        session.execute(text("analyze retriever.passage_vectors"))
    assert f"Index Scan using ix_passage_vectors_embedding_{size}" in plan(
        retriever, store_id, vectors[:3]
    )
    with retriever.db.transaction() as session:
        found = candidates.nearest(session, store_id, vectors[:3], None, limit=1)
    assert [hits[0][1] for hits in found] == pytest.approx([1, 1, 1], abs=1e-3)


def test_whoever_comes_while_an_index_is_made_finds_it_made(retriever: Retriever) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: vector_index.ensure(retriever.db, 7), range(4)))
    assert indexes(retriever, 7) == 1
    vector_index.ensure(retriever.db, 7)


def test_the_service_makes_the_index_of_its_model_when_it_starts(retriever: Retriever) -> None:
    assert indexes(retriever, retriever.embedder.dimensions) == 1


def _upgrade(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(main.MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


async def test_vectors_from_before_are_kept_and_their_store_takes_the_model_that_searches_it(
    retriever: Retriever, database_url: str
) -> None:
    engine = create_engine(database_url)
    [vector] = retriever.embedder.embed(["The cargo vessel left the harbour."])
    with engine.connect() as connection:
        connection.execute(text("create schema retriever"))
        _upgrade(connection, "0003")
        connection.execute(
            text(
                "insert into retriever.vector_stores (id, created_at, last_active_at, metadata, "
                "passages, usage_bytes, swept) values ('vs_old', 1, 1, '{}', 1, 34, false)"
            )
        )
        connection.execute(
            text(
                "insert into retriever.passages (store_id, id, doc_id, title, text, attributes, "
                "ingestion_id) values ('vs_old', 'ship', 'ship', '', "
                "'The cargo vessel left the harbour.', '{}', 'ing_old')"
            )
        )
        connection.execute(
            text(
                "insert into retriever.passage_vectors (passage_pk, store_id, embedding) "
                "select pk, store_id, :vector from retriever.passages"
            ),
            {"vector": str(vector.tolist())},
        )
        connection.commit()
        _upgrade(connection, "head")
    engine.dispose()

    db = Database(database_url)
    searches = Searches(Reader(database_url), retriever.embedder, line=line(), at_once=1)
    with db.transaction() as session:
        before = service.store(session, "vs_old")
    ask = SearchAsk(query="a boat departs", mode="vector")
    page = await searches.search("vs_old", ask)
    await searches.aclose()
    with db.transaction() as session:
        after = service.store(session, "vs_old")
    db.close()
    assert [hit.passage_id for hit in page.data] == ["ship"]
    assert (before.embedding_model, before.dimensions) == (None, 384)
    assert (after.embedding_model, after.dimensions) == (retriever.embedder.name, 384)
    assert after.embedding_identity == retriever.embedder.identity
