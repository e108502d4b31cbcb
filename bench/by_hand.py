"""PostgreSQL as somebody would use it who needs no service: psycopg, ``COPY`` and one statement."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import psycopg
from pgvector import HalfVector
from pgvector.psycopg import register_vector, register_vector_async
from psycopg.types.json import Jsonb

from bench.material import DIMENSIONS, Halves, Vectors

# Keys that the service's own sequence never reaches.
FIRST_KEY = 10**12

# As the index of vectors of this size has it: services/retriever/vector_index.py.
_SIZED = f"embedding::halfvec({DIMENSIONS})"
_SEARCH = f"""
select id, doc_id, title, text, attributes, 1 - distance
from (
    select passage_pk, {_SIZED} <=> %s as distance from retriever.passage_vectors
    where store_id = %s and vector_dims(embedding) = {DIMENSIONS}
    order by {_SIZED} <=> %s limit %s
) as near
join retriever.passages on pk = passage_pk
order by distance
"""
_PASSAGES = (
    "retriever.passages (pk, store_id, id, doc_id, title, text, attributes, ingestion_id)",
    ["int8", "text", "text", "text", "text", "text", "jsonb", "text"],
)
_VECTORS = (
    "retriever.passage_vectors (passage_pk, store_id, embedding)",
    ["int8", "text", "halfvec"],
)
_INDEX = f"retriever.ix_passage_vectors_embedding_{DIMENSIONS}"


class Passages(NamedTuple):
    """Numbers from ``start`` on, their texts and their vectors, shape ``(len(texts), 384)``."""

    start: int
    texts: Sequence[str]
    vectors: Halves


class Tables:
    """The retriever's own tables, written past it."""

    def __init__(self, conninfo: str) -> None:
        self._connection = psycopg.connect(conninfo, autocommit=True)
        register_vector(self._connection)
        self._key = FIRST_KEY

    def copy(self, store_id: str, passages: Passages) -> None:
        """Both tables in one transaction, without a look at what is there."""
        numbers = range(passages.start, passages.start + len(passages.texts))
        first = self._key
        self._key += len(numbers)
        with self._connection.transaction():
            self._copy(
                *_PASSAGES,
                (
                    (
                        first + at,
                        store_id,
                        str(n),
                        str(n),
                        "",
                        text,
                        Jsonb({}),
                        "",
                    )
                    for at, (n, text) in enumerate(zip(numbers, passages.texts, strict=True))
                ),
            )
            self._copy(
                *_VECTORS,
                (
                    (first + at, store_id, HalfVector(vector))
                    for at, vector in enumerate(passages.vectors)
                ),
            )

    def _copy(self, target: str, types: Sequence[str], rows: Any) -> None:
        with self._connection.cursor().copy(f"copy {target} from stdin (format binary)") as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)

    def drop_index(self) -> str:
        """Without it rows come in many times as fast; gives the statement that makes it again."""
        row = self._connection.execute(
            "select pg_get_indexdef(to_regclass(%s))", [_INDEX]
        ).fetchone()
        assert row is not None
        self._connection.execute(f"drop index {_INDEX}")
        return str(row[0])

    def make_index(self, statement: str) -> None:
        self._connection.execute("set maintenance_work_mem = '2GB'")
        self._connection.execute("set max_parallel_maintenance_workers = 1")
        self._connection.execute(statement)

    def settle(self, store_id: str, passages: int) -> None:
        """What the service keeps of a store, and the planner's knowledge, after ``copy``."""
        self._connection.execute(
            "update retriever.vector_stores set passages = %s where id = %s", [passages, store_id]
        )
        for table in ("passages", "passage_vectors", "vector_stores"):
            self._connection.execute(f"vacuum analyze retriever.{table}")

    def close(self) -> None:
        self._connection.close()


class Searches:
    """Some connections, each of which has done the statement before and holds its plan."""

    def __init__(self, connections: Sequence[psycopg.AsyncConnection]) -> None:
        self._free: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()
        for connection in connections:
            self._free.put_nowait(connection)

    async def nearest(self, store_id: str, vector: HalfVector, k: int) -> list[Any]:
        connection = await self._free.get()
        try:
            return await (
                await connection.execute(_SEARCH, [vector, store_id, vector, k], binary=True)
            ).fetchall()
        finally:
            self._free.put_nowait(connection)


@asynccontextmanager
async def searches(conninfo: str, width: int, *, ef_search: int) -> AsyncIterator[Searches]:
    connections = []
    try:
        for _ in range(width):
            connection = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
            connections.append(connection)
            await register_vector_async(connection)
            for setting in (
                f"hnsw.ef_search = {ef_search}",
                "hnsw.iterative_scan = relaxed_order",
                "enable_sort = off",
            ):
                await connection.execute(f"set {setting}")
        yield Searches(connections)
    finally:
        for connection in connections:
            await connection.close()


def halves(vectors: Vectors) -> list[HalfVector]:
    return [HalfVector(vector) for vector in vectors]
