from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from pgvector import HalfVector
from sqlalchemy import bindparam, func, select
from sqlalchemy.orm import Session

from services.common.db import Reader
from services.retriever import halves
from services.retriever.halves import HALFVECS
from tests.services.retriever.conftest import Retriever


def sent(vectors: npt.NDArray[np.floating]) -> Callable[[Session], list[list[float]]]:
    """To PostgreSQL, which takes the array apart and writes each of its vectors back as text."""

    def work(session: Session) -> list[list[float]]:
        halves.connection(session)
        each = func.unnest(bindparam("vectors", type_=HALFVECS()))
        rows = session.scalars(select(each), {"vectors": vectors}).all()
        assert all(isinstance(row, HalfVector) for row in rows)
        return [row.to_list() for row in rows]

    return work


@pytest.mark.parametrize("shape", [(1, 1), (3, 384), (16, 4_000)])
@pytest.mark.parametrize("where", ["transact", "on_loop"])
async def test_vectors_arrive_in_order_and_in_half_precision(
    retriever: Retriever, where: str, shape: tuple[int, int]
) -> None:
    vectors = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    reader = Reader(retriever.settings.database_url)
    try:
        for _ in range(8):  # psycopg prepares a statement that it has seen a few times
            arrived = await getattr(reader, where)(sent(vectors))
    finally:
        await reader.aclose()
    assert arrived == vectors.astype(np.float16).tolist()
