"""What a search asks for: words, a vector, or both."""

from collections.abc import Callable, Mapping, Sequence
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from services.common.contracts import retriever as wire
from services.common.errors import InvalidRequest
from services.retriever.embedding import Embedder
from services.retriever.explaining import Clock
from services.retriever.vectors import check_size, unit

Vector = npt.NDArray[np.float32]
Vectors = npt.NDArray[np.float32]
"""One a row."""

P = ParamSpec("P")
T = TypeVar("T")


def of(ask: wire.SearchAsk) -> list[wire.BatchQuery]:
    """The queries of a single search, which share its filters."""
    texts: Sequence[str | None] = ask.query if isinstance(ask.query, list) else [ask.query]
    if len(texts) > 1 and ask.vector is not None:
        raise _refusal("A vector stands for one query.", param="vector")
    return [
        wire.BatchQuery.model_construct(query=text, vector=ask.vector, filters=ask.filters)
        for text in texts
    ]


def check(queries: Sequence[wire.BatchQuery], mode: wire.SearchMode) -> None:
    for query in queries:
        if query.vector is not None and mode == "text":
            raise _refusal("Mode 'text' has no use for a vector.", param="vector")
        if query.query is None and (query.vector is None or mode != "vector"):
            raise _refusal(
                "A search needs a query, or in mode 'vector' a vector.",
                code="missing_required_parameter",
            )
    check_words([query.query for query in queries if query.query is not None])


def check_words(texts: Sequence[str]) -> None:
    """Here, before queries of several callers go through the model together: what one of them gets
    wrong is its own. A lone surrogate raises ``UnicodeEncodeError``, which is answered as such."""
    for text in texts:
        text.encode()
    if any(not text.strip() or "\x00" in text for text in texts):
        raise _refusal("A query must hold words, and no NUL characters.")


def embedded(
    embedder: Embedder, queries: Sequence[wire.BatchQuery], clock: Clock
) -> dict[int, Vector]:
    """The vectors of the words of those queries that bring none, by the query's place."""
    words = {n: query.query or "" for n, query in enumerate(queries) if query.vector is None}
    if not words:
        return {}
    with clock.stage("embed"):
        return dict(zip(words, embedder.embed(list(words.values())), strict=True))


def vectors(queries: Sequence[wire.BatchQuery], of_words: Mapping[int, Vector]) -> list[Vector]:
    """One for each query: the one it brings, at length 1, or that of its words."""
    return [
        of_words[n] if query.vector is None else _checked(unit, query.vector)
        for n, query in enumerate(queries)
    ]


def stacked(vectors: Sequence[Vector], dimensions: int) -> Vectors:
    """Shape ``(len(vectors), dimensions)``; refuses those of another size."""
    for vector in vectors:
        _checked(check_size, vector.size, dimensions)
    return np.stack(vectors)


def _checked(check: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
    try:
        return check(*args, **more)
    except ValueError as error:
        raise _refusal(f"'vector': {error}.", param="vector") from None


def by_filter(queries: Sequence[wire.BatchQuery]) -> list[list[int]]:
    """Places of the queries that share a filter: each group is one statement."""
    groups: dict[str, list[int]] = {}
    for place, query in enumerate(queries):
        key = repr(query.filters)  # JSON could not hold every string that a filter can
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _refusal(message: str, *, code: str = "invalid_query", param: str = "query") -> InvalidRequest:
    return InvalidRequest(message, code=code, param=param)
