"""The nearest vectors of a store: by the index, or by reading all that come into question.

One index holds all stores' vectors of a size, and HNSW walks it by nearness alone. Few vectors are
read as fast as it is walked, and none is missed; few among many are what it may not come upon at
all.
"""

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from services.common.contracts.retriever import Scan
from services.retriever import candidates, storage
from services.retriever.models import VectorStore
from services.retriever.ranking import Scored
from services.retriever.storage import Found

# Vectors that are read rather than looked up: where both take as long (docs/performance.md).
FEW = 5_000


def nearest(
    session: Session,
    store: VectorStore,
    vectors: npt.NDArray[np.float32],
    where: ColumnElement[bool] | None,
    *,
    limit: int,
) -> tuple[list[list[Scored]], Scan]:
    """At most ``limit`` passages for each row of ``vectors``, and how they were found.

    The connection has its ``candidates.breadth``, of ``limit`` at least.
    """
    if not _few(session, store, where):
        found = candidates.nearest(session, store.id, vectors, where, limit=limit)
        # HNSW gives up after hnsw.max_scan_tuples, whatever it has: other stores', or filtered out.
        if all(len(hits) == limit for hits in found):
            return found, "index"
    return candidates.nearest(session, store.id, vectors, where, limit=limit, exact=True), "exact"


def opened(
    session: Session, store_id: str, vectors: npt.NDArray[np.float32], *, limit: int
) -> tuple[VectorStore, list[list[Scored]], Scan, dict[int, Found] | None]:
    """The store and what ``nearest`` gives without a condition; and, unless the index did not find
    enough, the passages: all in one statement. Raises :class:`NotFound`."""
    store, found, rows = candidates.opening(session, store_id, vectors, limit=limit, few=FEW)
    if store is None:
        raise storage.no_store(store_id)
    if store.passages <= FEW:
        return store, found, "exact", rows
    if all(len(hits) == limit for hits in found):
        return store, found, "index", rows
    found = candidates.nearest(session, store_id, vectors, None, limit=limit, exact=True)
    return store, found, "exact", None


def _few(session: Session, store: VectorStore, where: ColumnElement[bool] | None) -> bool:
    if store.passages <= FEW:
        return True
    return where is not None and candidates.count(session, store.id, where, most=FEW + 1) <= FEW
