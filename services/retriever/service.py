"""The rules of vector stores, passages and search."""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from services.common.contracts import retriever as wire
from services.common.contracts.base import Deleted, Page
from services.common.errors import NotFound
from services.common.ids import new_id, now
from services.common.pagination import Cursor, to_page
from services.retriever import asking, candidates, filters, reranking, scanning, storage
from services.retriever.compatibility import adopt_at_search
from services.retriever.embedding import Embedder, Reranker
from services.retriever.expiry import refuse_expired
from services.retriever.explaining import RANKINGS, Clock, fusion, placements
from services.retriever.models import VectorStore
from services.retriever.ranking import Scored, best_of, fuse
from services.retriever.storage import Found
from services.retriever.views import read_passage, read_result, read_store

# How deep each ranking is looked at before fusion, at least.
DEPTH = 50


def new_store(
    session: Session, ask: wire.VectorStoreCreate, *, tokens: tuple[int | None, int | None]
) -> VectorStore:
    moment = now()
    row = VectorStore(
        id=new_id("vs"),
        created_at=moment,
        last_active_at=moment,
        name=ask.name,
        description=ask.description,
        metadata_=ask.metadata or {},
        passages=0,
        usage_bytes=0,
        expires_days=ask.expires_after.days if ask.expires_after else None,
        max_chunk_tokens=tokens[0],
        overlap_tokens=tokens[1],
    )
    storage.add(session, row)
    return row


def store(session: Session, store_id: str) -> wire.VectorStore:
    row = storage.store(session, store_id)
    return read_store(row, storage.ingestion_counts(session, [store_id]).get(store_id, {}))


def stores(session: Session, cursor: Cursor) -> Page[wire.VectorStore]:
    rows, has_more = storage.stores(session, cursor)
    counts = storage.ingestion_counts(session, [row.id for row in rows])
    return to_page([read_store(row, counts.get(row.id, {})) for row in rows], has_more)


def update_store(session: Session, store_id: str, ask: wire.VectorStoreUpdate) -> wire.VectorStore:
    """Change what the request names; an explicit null clears."""
    row = refuse_expired(storage.lock_store(session, store_id))
    if "name" in ask.model_fields_set:
        row.name = ask.name
    if "metadata" in ask.model_fields_set:
        row.metadata_ = ask.metadata or {}
    if "expires_after" in ask.model_fields_set:
        row.expires_days = ask.expires_after.days if ask.expires_after else None
    row.last_active_at = now()
    return read_store(row, storage.ingestion_counts(session, [store_id]).get(store_id, {}))


def delete_store(session: Session, store_id: str) -> Deleted:
    storage.delete_store(session, store_id)
    return Deleted(id=store_id, object="vector_store.deleted")


def passage(session: Session, store_id: str, passage_id: str) -> wire.Passage:
    found = passages(session, store_id, wire.PassagesAsk.model_construct(ids=[passage_id]))
    if not found.data:
        raise NotFound(f"Vector store '{store_id}' has no passage '{passage_id}'.")
    return found.data[0]


def passages(session: Session, store_id: str, ask: wire.PassagesAsk) -> wire.PassagesFound:
    refuse_expired(storage.store(session, store_id))
    rows = storage.passages(session, store_id, ask.ids)
    return wire.PassagesFound(
        data=[read_passage(rows[key]) for key in ask.ids if key in rows],
        missing=[key for key in ask.ids if key not in rows],
    )


def delete_passages(
    session: Session, store_id: str, ask: wire.PassagesDelete
) -> wire.PassagesDeleted:
    """Those of a file go with the file."""
    row = refuse_expired(storage.lock_store(session, store_id))
    chosen = storage.with_ids(ask.ids) if ask.ids is not None else filters.where(ask.filters)
    assert chosen is not None  # one of the two is there
    count = storage.drop_passages(session, row, storage.from_no_file(), chosen)
    row.last_active_at = now()
    return wire.PassagesDeleted(vector_store_id=store_id, deleted=count)


def search(
    session: Session,
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
    rankings = _rank(session, embedder, store_id, queries, ask.mode, depth, ef_search, clock)
    with clock.stage("merge"):
        every = [ranking for each in rankings for ranking in each]
        merged = _merge(every, ask.mode, ask.ranking_options)
    with clock.stage("read"):
        rows = storage.searchable(session, [pk for pk, _ in merged])
    stages = RANKINGS[ask.mode]
    if reranker is not None:
        session.commit()  # no connection is held while the model computes
        with clock.stage("rerank"):
            reranked = reranking.rerank(reranker, texts, merged, rows, least=ask.max_num_results)
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


def search_batch(
    session: Session,
    embedder: Embedder,
    store_id: str,
    ask: wire.BatchSearchAsk,
    *,
    ef_search: int,
    reranker: Reranker | None = None,
) -> wire.BatchSearchResults:
    """What ``search`` finds for each query, at a few statements for all."""
    reranker = reranking.chosen(reranker, ask.ranking_options, ask.queries)
    rankings = _rank(
        session,
        embedder,
        store_id,
        ask.queries,
        ask.mode,
        _depth(ask, reranker),
        ef_search,
        Clock(),
    )
    merged = [_merge(each, ask.mode, ask.ranking_options) for each in rankings]
    rows = storage.searchable(session, list({pk for scored in merged for pk, _ in scored}))
    if reranker is not None:
        session.commit()
        merged = [
            reranking.rerank(reranker, [query.query], scored, rows, least=ask.max_num_results)[0]
            if query.query is not None
            else scored
            for query, scored in zip(ask.queries, merged, strict=True)
        ]
    return wire.BatchSearchResults(
        data=[_results(rows, each, ask.ranking_options, ask.max_num_results) for each in merged]
    )


def _rank(
    session: Session,
    embedder: Embedder,
    store_id: str,
    queries: Sequence[wire.BatchQuery],
    mode: wire.SearchMode,
    depth: int,
    ef_search: int,
    clock: Clock,
) -> list[list[list[Scored]]]:
    """For each query its rankings: by vector, by text, or both."""
    asking.check(queries, mode)
    # Before the first statement: no connection is held while the model computes.
    of_words = asking.embedded(embedder, queries, clock) if mode != "text" else {}
    breadth = candidates.breadth(max(ef_search, depth))
    row = refuse_expired(storage.store(session, store_id, *breadth))
    vectors = None
    if mode != "text":
        adopt_at_search(session, row, embedder)
        vectors = asking.vectors(queries, of_words, row.dimensions or embedder.dimensions)
    rankings: list[list[list[Scored]]] = [[] for _ in queries]
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
