"""Does the index find what a scan of every vector finds?"""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from sqlalchemy.orm import Session

from services.common.contracts import retriever as wire
from services.common.errors import InvalidRequest
from services.retriever import asking, candidates, filters, scanning, storage
from services.retriever.compatibility import adopt_at_search
from services.retriever.embedding import Embedder
from services.retriever.expiry import refuse_expired
from services.retriever.ranking import Scored
from services.retriever.searching import DEPTH

# The quantile of the normal distribution of a two-sided 95 % interval.
_Z = 1.959964

# Queries in one statement; scores that differ by less are ties, which neither side breaks alike.
_AT_ONCE = 20
_TIE = 1e-6


def audit(session: Session, embedder: Embedder, store_id: str, ask: wire.AuditAsk) -> wire.Audit:
    """Recall@k of vector search, as it is done for everybody, against an exact scan.

    Queries are the caller's, or vectors of the store itself, each without the passage it is of.
    """
    if ask.queries is not None:
        asking.check_words(ask.queries)
    vectors = embedder.embed(ask.queries) if ask.queries is not None else None
    depth = max(DEPTH, 2 * ask.k)
    row = refuse_expired(storage.store(session, store_id))
    if vectors is not None:
        adopt_at_search(session, row, embedder)
    where = filters.where(ask.filters)
    own: Sequence[int | None]
    if vectors is None:
        own, vectors = candidates.sampled(session, store_id, where, ask.sample, seed=ask.seed)
        if not own:
            raise InvalidRequest("No passage that is searchable here to sample.", code="empty")
    else:
        own = [None] * len(vectors)

    def search(some: npt.NDArray[np.float32]) -> list[list[Scored]]:
        return scanning.nearest(session, row, some, where, limit=depth)[0]

    def scan(some: npt.NDArray[np.float32]) -> list[list[Scored]]:
        return candidates.nearest(session, store_id, some, where, limit=ask.k + 1, exact=True)

    found, searched = _timed(search, vectors)
    true, scanned = _timed(scan, vectors)
    recalls = [
        recall
        for mine, near, exact in zip(own, found, true, strict=True)
        if (recall := _recall(near, exact, ask.k, without=mine)) is not None
    ]
    if not recalls:
        raise InvalidRequest("The store has too few passages to compare.", code="empty")
    mean = float(np.mean(recalls))
    return wire.Audit(
        vector_store_id=store_id,
        passages=row.passages,
        queries=len(recalls),
        k=ask.k,
        recall=mean,
        interval=interval(mean, len(recalls)),
        imperfect=sum(recall < 1 for recall in recalls),
        milliseconds_per_search=1_000 * searched / len(vectors),
        milliseconds_per_scan=1_000 * scanned / len(vectors),
    )


def _timed(
    nearest: Callable[[npt.NDArray[np.float32]], list[list[Scored]]],
    vectors: npt.NDArray[np.float32],
) -> tuple[list[list[Scored]], float]:
    began = time.perf_counter()
    found: list[list[Scored]] = []
    for start in range(0, len(vectors), _AT_ONCE):
        found += nearest(vectors[start : start + _AT_ONCE])
    return found, time.perf_counter() - began


def _recall(
    near: Sequence[Scored], exact: Sequence[Scored], k: int, *, without: int | None
) -> float | None:
    """The share of the true k nearest that were found; None when there are none."""
    true = [score for pk, score in exact if pk != without][:k]
    if not true:
        return None
    mine = [score for pk, score in near if pk != without][:k]
    return sum(score >= true[-1] - _TIE for score in mine) / len(true)


def interval(mean: float, count: int) -> tuple[float, float]:
    """A 95 % interval of the mean of ``count`` values from 0 to 1, after Wilson (1927).

    Wilson's is of a proportion, which varies as much as anything between 0 and 1 can: for recalls,
    which vary less, it is wider than it need be, and it does not shrink to a point when all are 1.
    """
    spread = _Z * _Z / count
    middle = (mean + spread / 2) / (1 + spread)
    half = _Z / (1 + spread) * math.sqrt(mean * (1 - mean) / count + spread / (4 * count))
    return max(0.0, middle - half), min(1.0, middle + half)
