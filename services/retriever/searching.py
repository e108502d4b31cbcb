"""Searching: words become vectors, PostgreSQL finds, and a model may have the last word.

Single searches that are alike go to PostgreSQL together, on the event loop: in a thread each waited
for its turn to run after every statement besides. What computes goes to a thread, and so do
batches, which put many rankings together.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import NamedTuple

import numpy as np
from anyio.to_thread import run_sync
from sqlalchemy.orm import Session

from services.common.contracts import retriever as wire
from services.common.db import Reader
from services.common.line import Line
from services.common.telemetry import current_caller
from services.retriever import asking, candidates, filters, reranking, scanning, storage
from services.retriever.compatibility import adopt_at_search
from services.retriever.embedding import Embedder, Reranker
from services.retriever.expiry import refuse_expired
from services.retriever.explaining import RANKINGS, Clock, fusion, placements
from services.retriever.gathering import Gathering
from services.retriever.ranking import Scored, best_of, fuse
from services.retriever.storage import Found
from services.retriever.views import read_result

# How deep each ranking is looked at before fusion, at least.
DEPTH = 50

# Searches of one pass: PostgreSQL answers it on one core, and several have more of them at work.
_TOGETHER = 4


Rankings = list[list[Scored]]
"""Of one query: by vector, by text, or both."""


class Alike(NamedTuple):
    """What searches have in common that go to PostgreSQL together: among other things how deep each
    ranking goes, and how many passages of what they come to are read. ``filters`` is text. One with
    a ``clock`` is alone, so that the time is its own."""

    store_id: str
    mode: wire.SearchMode
    depth: int
    read: int
    dimensions: int | None = None
    filters: str = ""
    clock: Clock | None = None


class Sought(NamedTuple):
    """What one list of results is to answer: any of the queries, which have their vectors but in
    mode ``text``."""

    queries: Sequence[wire.BatchQuery]
    vectors: Sequence[asking.Vector]
    options: wire.RankingOptions


class Findings(NamedTuple):
    """The rankings of each query; what they come to; and the passages of these and other findings
    by key."""

    rankings: list[Rankings]
    merged: list[Scored]
    rows: Mapping[int, Found]


class Searches:
    """The searches of one process, of which ``at_once`` passes have a connection at a time."""

    def __init__(
        self,
        reader: Reader,
        embedder: Embedder,
        reranker: Reranker | None = None,
        *,
        line: Line,
        at_once: int,
    ) -> None:
        self.reader = reader
        self.line = line
        self._embedder = embedder
        self._reranker = reranker
        self._gathering = Gathering(self._together, at_once=at_once, most=_TOGETHER)

    def place(self) -> AbstractAsyncContextManager[None]:
        """One among the searches under way, before a thread or a connection is taken."""
        return self.line.place(current_caller())

    async def search(self, store_id: str, ask: wire.SearchAsk) -> wire.SearchPage:
        """The passages that answer the query, or any of several queries, best first.

        Scores lie in 0..1 in every mode: cosine similarity (``vector``), the share of the query's
        words found, weighted by their rarity (``text``), or place and score in both rankings
        (``hybrid``, where 1.0 is first in both and 0.5 first in one and absent from the other);
        reranked, they are the reranking model's.
        """
        queries, options = asking.of(ask), ask.ranking_options
        texts = [query.query for query in queries if query.query is not None]
        reranker = reranking.chosen(self._reranker, options, queries)
        clock = Clock()
        vectors = await self._vectors(queries, ask.mode, clock)
        alike = Alike(
            store_id,
            ask.mode,
            *_depths(ask, reranker),
            vectors[0].size if vectors else None,
            repr(ask.filters),  # JSON could not hold every string that a filter can
            clock if ask.explain else None,
        )
        found = await self._gathering.ask(alike, Sought(queries, vectors, options))
        rankings, merged, stages = found.rankings, found.merged, RANKINGS[ask.mode]
        if reranker is not None:
            least = ask.max_num_results
            with clock.stage("rerank"):
                reranked = await run_sync(
                    partial(reranking.rerank, reranker, texts, merged, found.rows, least=least)
                )
            merged = best_of(reranked)
            rankings = [[*each, last] for each, last in zip(rankings, reranked, strict=True)]
            stages = (*stages, "rerank")
        places = placements(rankings, stages) if ask.explain else None
        return wire.SearchPage(
            search_query=texts,
            data=_results(found.rows, merged, options, ask.max_num_results, places),
            stages=clock.read() if ask.explain else None,
            fusion=fusion(options) if ask.explain and ask.mode == "hybrid" else None,
        )

    async def search_batch(
        self, store_id: str, ask: wire.BatchSearchAsk
    ) -> wire.BatchSearchResults:
        """What ``search`` finds for each query, at a few statements for all."""
        queries, options = ask.queries, ask.ranking_options
        reranker = reranking.chosen(self._reranker, options, queries)
        vectors = await self._vectors(queries, ask.mode, Clock())
        alike = Alike(store_id, ask.mode, *_depths(ask, reranker))
        sought = [
            Sought([query], vectors[place : place + 1], options)
            for place, query in enumerate(queries)
        ]

        def answer(findings: Sequence[Findings]) -> wire.BatchSearchResults:
            least, data = ask.max_num_results, list[list[wire.SearchResult]]()
            for query, (_, merged, rows) in zip(queries, findings, strict=True):
                if reranker is not None and query.query is not None:
                    [merged] = reranking.rerank(reranker, [query.query], merged, rows, least=least)
                data.append(_results(rows, merged, options, least))
            return wire.BatchSearchResults(data=data)

        found = await self.reader.transact(self._finding(alike, sought))
        # No connection is held while a model computes.
        return await run_sync(answer, found)

    def check(self) -> None:
        """Raise while a model that searches need is not there."""
        self._embedder.check()
        if self._reranker is not None:
            self._reranker.check()

    async def aclose(self) -> None:
        await self.reader.aclose()

    async def _vectors(
        self, queries: Sequence[wire.BatchQuery], mode: wire.SearchMode, clock: Clock
    ) -> list[asking.Vector]:
        """The queries', of their own or of their words. Before the first statement: no connection
        is held while the model computes."""
        asking.check(queries, mode)
        if mode == "text":
            return []
        of_words: Mapping[int, asking.Vector] = {}
        if any(query.vector is None for query in queries):
            of_words = await run_sync(asking.embedded, self._embedder, queries, clock)
        return asking.vectors(queries, of_words)

    async def _together(self, alike: Alike, sought: Sequence[Sought]) -> list[Findings]:
        return await self.reader.on_loop(self._finding(alike, sought))

    def _finding(
        self, alike: Alike, sought: Sequence[Sought]
    ) -> Callable[[Session], list[Findings]]:
        """Work for a session: what is found for each that is sought."""
        clock = alike.clock or Clock()

        queries = [query for each in sought for query in each.queries]
        vectors = [vector for each in sought for vector in each.vectors]

        def find(session: Session) -> list[Findings]:
            if self._is_plain(alike, queries, vectors):
                found, rows = self._looked_up(session, alike, vectors, clock)
            else:
                found, rows = self._rank(session, alike, queries, vectors, clock), None
            with clock.stage("merge"):
                of_each = iter(found)
                rankings = [[next(of_each) for _ in each.queries] for each in sought]
                merged = [
                    _merge(some, alike.mode, each.options)
                    for some, each in zip(rankings, sought, strict=True)
                ]
            with clock.stage("read"):
                if rows is None:
                    keys = {pk for scored in merged for pk, _ in scored[: alike.read]}
                    rows = storage.found(session, list(keys))
            return [Findings(*each, rows) for each in zip(rankings, merged, strict=True)]

        return find

    def _is_plain(
        self,
        alike: Alike,
        queries: Sequence[wire.BatchQuery],
        vectors: Sequence[asking.Vector],
    ) -> bool:
        """Whether all is said by one ranking without a filter, of vectors such as the store's."""
        return (
            alike.mode == "vector"
            and alike.depth == alike.read
            and all(query.filters is None for query in queries)
            and self._embedder.is_loaded
            and all(vector.size == self._embedder.dimensions for vector in vectors)
        )

    def _looked_up(
        self, session: Session, alike: Alike, vectors: Sequence[asking.Vector], clock: Clock
    ) -> tuple[list[Rankings], Mapping[int, Found] | None]:
        with clock.stage("vector"):
            row, found, clock.scan, rows = scanning.opened(
                session, alike.store_id, np.stack(vectors), limit=alike.depth
            )
        adopt_at_search(session, refuse_expired(row), self._embedder)
        storage.touch(session, row)
        return [[hits] for hits in found], rows

    def _rank(
        self,
        session: Session,
        alike: Alike,
        queries: Sequence[wire.BatchQuery],
        brought: Sequence[asking.Vector],
        clock: Clock,
    ) -> list[Rankings]:
        depth = alike.depth
        row = refuse_expired(storage.store(session, alike.store_id))
        vectors: asking.Vectors | None = None
        if alike.mode != "text":
            adopt_at_search(session, row, self._embedder)
            vectors = asking.stacked(brought, row.dimensions or self._embedder.dimensions)
        rankings: list[Rankings] = [[] for _ in queries]
        for places in asking.by_filter(queries):
            where = filters.where(queries[places[0]].filters)
            if vectors is not None:
                with clock.stage("vector"):
                    found, clock.scan = scanning.nearest(
                        session, row, vectors[places], where, limit=depth
                    )
                for place, hits in zip(places, found, strict=True):
                    rankings[place].append(hits)
            if alike.mode != "vector":
                texts = [queries[place].query or "" for place in places]
                with clock.stage("text"):
                    found = candidates.matching(
                        session, row.id, texts, where, passages=row.passages, limit=depth
                    )
                for place, hits in zip(places, found, strict=True):
                    rankings[place].append(hits)
        storage.touch(session, row)
        return rankings


def _depths(
    ask: wire.SearchAsk | wire.BatchSearchAsk, reranker: Reranker | None
) -> tuple[int, int]:
    """How deep a ranking goes, and how many passages are read.

    What is fused or reranked is looked at deeper; else the first are all that comes out.
    """
    shown = ask.max_num_results
    deep = max(DEPTH, 2 * shown)
    if reranker is not None:
        return deep, max(reranker.depth, shown)
    return shown if ask.mode == "vector" else deep, shown


def _merge(
    rankings: Sequence[Rankings],
    mode: wire.SearchMode,
    options: wire.RankingOptions,
) -> list[Scored]:
    """One list of the rankings of each query, which are by vector, then by text, in ``hybrid``."""
    every = [ranking for of_query in rankings for ranking in of_query]
    if mode == "hybrid":
        how = fusion(options)
        weights = [how.embedding_weight, how.text_weight] * len(rankings)
        return fuse(every, weights)
    return best_of(every)


def _results(
    rows: Mapping[int, Found],
    scored: Sequence[Scored],
    options: wire.RankingOptions,
    limit: int,
    places: Mapping[int, list[wire.Placement]] | None = None,
) -> list[wire.SearchResult]:
    """The first ``limit`` passages over the threshold, but for those gone from ``rows`` since. With
    ``places``, each says its own."""
    known = [
        (rows[pk], score) for pk, score in scored if pk in rows and score >= options.score_threshold
    ]
    return [
        read_result(row, score, places=places[row.pk] if places is not None else None)
        for row, score in known[:limit]
    ]
