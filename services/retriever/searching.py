"""Searching: words become vectors, PostgreSQL finds, and a model may have the last word.

A single search waits for PostgreSQL on the event loop: in a thread it waited for its turn to run
after every statement besides. What computes goes to a thread, and so do batches, which put many
rankings together.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from anyio.to_thread import run_sync
from sqlalchemy.orm import Session

from services.common.contracts import retriever as wire
from services.common.db import Reader
from services.retriever import asking, candidates, filters, reranking, scanning, storage
from services.retriever.compatibility import adopt_at_search
from services.retriever.embedding import Embedder, Reranker
from services.retriever.expiry import refuse_expired
from services.retriever.explaining import RANKINGS, Clock, fusion, placements
from services.retriever.ranking import Scored, best_of, fuse
from services.retriever.storage import Found
from services.retriever.views import read_result

# How deep each ranking is looked at before fusion, at least.
DEPTH = 50

Rankings = list[list[list[Scored]]]
"""Of each query: by vector, by text, or both."""


class Findings(NamedTuple):
    """Each query's rankings; what they come to, in a list for all queries or for each; and the
    passages by key."""

    rankings: Rankings
    merged: list[list[Scored]]
    rows: Mapping[int, Found]


async def search(
    searches: Reader,
    embedder: Embedder,
    store_id: str,
    ask: wire.SearchAsk,
    *,
    ef_search: int,
    reranker: Reranker | None = None,
) -> wire.SearchPage:
    """The passages that answer the query, or any of several queries, best first.

    Scores lie in 0..1 in every mode: cosine similarity (``vector``), the share of the query's words
    found, weighted by their rarity (``text``), or the place in both rankings (``hybrid``, where
    1.0 is first in both and 0.5 first in one and absent from the other); reranked, they are the
    reranking model's.
    """
    queries = asking.of(ask)
    texts = [query.query for query in queries if query.query is not None]
    reranker = reranking.chosen(reranker, ask.ranking_options, queries)
    clock, depth = Clock(), _depth(ask, reranker)
    of_words = await _embedded(embedder, queries, ask.mode, clock)

    def find(session: Session) -> Findings:
        rankings = _rank(
            session, embedder, store_id, queries, of_words, ask.mode, depth, ef_search, clock
        )
        with clock.stage("merge"):
            every = [ranking for each in rankings for ranking in each]
            merged = _merge(every, ask.mode, ask.ranking_options)
        with clock.stage("read"):
            return Findings(
                rankings, [merged], storage.searchable(session, [pk for pk, _ in merged])
            )

    rankings, [merged], rows = await searches.on_loop(find)
    stages = RANKINGS[ask.mode]
    if reranker is not None:
        with clock.stage("rerank"):
            reranked = await run_sync(
                partial(reranking.rerank, reranker, texts, merged, rows, least=ask.max_num_results)
            )
        merged = best_of(reranked)
        rankings = [[*each, last] for each, last in zip(rankings, reranked, strict=True)]
        stages = (*stages, "rerank")
    places = placements(rankings, stages) if ask.explain else None
    return wire.SearchPage(
        search_query=texts,
        data=_results(rows, merged, ask.ranking_options, ask.max_num_results, places),
        stages=clock.read() if ask.explain else None,
        fusion=fusion(ask.ranking_options) if ask.explain and ask.mode == "hybrid" else None,
    )


async def search_batch(
    searches: Reader,
    embedder: Embedder,
    store_id: str,
    ask: wire.BatchSearchAsk,
    *,
    ef_search: int,
    reranker: Reranker | None = None,
) -> wire.BatchSearchResults:
    """What ``search`` finds for each query, at a few statements for all."""
    reranker = reranking.chosen(reranker, ask.ranking_options, ask.queries)
    clock, depth = Clock(), _depth(ask, reranker)
    of_words = await _embedded(embedder, ask.queries, ask.mode, clock)

    def find(session: Session) -> Findings:
        rankings = _rank(
            session, embedder, store_id, ask.queries, of_words, ask.mode, depth, ef_search, clock
        )
        merged = [_merge(each, ask.mode, ask.ranking_options) for each in rankings]
        keys = list({pk for scored in merged for pk, _ in scored})
        return Findings(rankings, merged, storage.searchable(session, keys))

    def answer(found: Findings) -> wire.BatchSearchResults:
        merged = found.merged
        if reranker is not None:
            merged = [
                reranking.rerank(
                    reranker, [query.query], scored, found.rows, least=ask.max_num_results
                )[0]
                if query.query is not None
                else scored
                for query, scored in zip(ask.queries, merged, strict=True)
            ]
        return wire.BatchSearchResults(
            data=[
                _results(found.rows, each, ask.ranking_options, ask.max_num_results)
                for each in merged
            ]
        )

    # No connection is held while a model computes.
    return await run_sync(answer, await searches.transact(find))


async def _embedded(
    embedder: Embedder, queries: Sequence[wire.BatchQuery], mode: wire.SearchMode, clock: Clock
) -> dict[int, asking.Vector]:
    """The vectors of the queries' words. Before the first statement: no connection is held while
    the model computes."""
    asking.check(queries, mode)
    if mode == "text" or all(query.vector is not None for query in queries):
        return {}
    return await run_sync(asking.embedded, embedder, queries, clock)


def _rank(
    session: Session,
    embedder: Embedder,
    store_id: str,
    queries: Sequence[wire.BatchQuery],
    of_words: Mapping[int, asking.Vector],
    mode: wire.SearchMode,
    depth: int,
    ef_search: int,
    clock: Clock,
) -> Rankings:
    breadth = candidates.breadth(max(ef_search, depth))
    row = refuse_expired(storage.store(session, store_id, *breadth))
    vectors = None
    if mode != "text":
        adopt_at_search(session, row, embedder)
        vectors = asking.vectors(queries, of_words, row.dimensions or embedder.dimensions)
    rankings: Rankings = [[] for _ in queries]
    for places in asking.by_filter(queries):
        where = filters.where(queries[places[0]].filters)
        if vectors is not None:
            with clock.stage("vector"):
                found, clock.scan = scanning.nearest(
                    session, row, vectors[places], where, limit=depth
                )
            for place, hits in zip(places, found, strict=True):
                rankings[place].append(hits)
        if mode != "vector":
            texts = [queries[place].query or "" for place in places]
            with clock.stage("text"):
                found = candidates.matching(
                    session, store_id, texts, where, passages=row.passages, limit=depth
                )
            for place, hits in zip(places, found, strict=True):
                rankings[place].append(hits)
    storage.touch(session, row)
    return rankings


def _depth(ask: wire.SearchAsk | wire.BatchSearchAsk, reranker: Reranker | None) -> int:
    """What is fused or reranked is looked at deeper; else the first are all that comes out."""
    if ask.mode == "vector" and reranker is None:
        return ask.max_num_results
    return max(DEPTH, 2 * ask.max_num_results)


def _merge(
    rankings: Sequence[Sequence[Scored]], mode: wire.SearchMode, options: wire.RankingOptions
) -> list[Scored]:
    """One list of several rankings, those of each query by vector, then by text, in ``hybrid``."""
    if mode == "hybrid":
        how = fusion(options)
        weights = [how.embedding_weight, how.text_weight] * (len(rankings) // 2)
        return fuse([[pk for pk, _ in ranking] for ranking in rankings], weights)
    return best_of(rankings)


def _results(
    rows: Mapping[int, Found],
    scored: Sequence[Scored],
    options: wire.RankingOptions,
    limit: int,
    places: Mapping[int, list[wire.Placement]] | None = None,
) -> list[wire.SearchResult]:
    """The first ``limit`` passages over the threshold; a match still without a vector, which is not
    among ``rows``, is passed over. With ``places``, each says its own."""
    known = [
        (rows[pk], score) for pk, score in scored if pk in rows and score >= options.score_threshold
    ]
    return [
        read_result(row, score, places=places[row.pk] if places is not None else None)
        for row, score in known[:limit]
    ]
