"""What a search found, in the order of a model that reads query and passage together."""

from collections.abc import Mapping, Sequence

from services.common.contracts.retriever import BatchQuery, RankingOptions
from services.common.errors import InvalidRequest
from services.retriever.embedding import Reranker
from services.retriever.ranking import Scored, best_first
from services.retriever.storage import Found


def chosen(
    reranker: Reranker | None, options: RankingOptions, queries: Sequence[BatchQuery]
) -> Reranker | None:
    """The reranker, if the request wants one and has words for it to read; ``Unavailable`` while
    its model is being loaded."""
    if options.ranker == "none":
        return None
    worded = [query.query is not None for query in queries]
    if options.ranker == "cross-encoder":
        if reranker is None:
            raise InvalidRequest(
                "This server has no model to rerank with: have it started with "
                "FINEPROOF_RETRIEVER_RERANKING_MODEL, or ask for ranker 'auto' or 'none'.",
                code="no_reranking_model",
                param="ranking_options.ranker",
            )
        if not all(worded):
            raise InvalidRequest(
                "A reranker reads the words of a query: send them with its vector, or ask for "
                "ranker 'auto' or 'none'.",
                code="missing_required_parameter",
                param="query",
            )
    if reranker is None or not any(worded):
        return None
    reranker.check()
    return reranker


def rerank(
    reranker: Reranker,
    queries: Sequence[str],
    found: Sequence[Scored],
    rows: Mapping[int, Found],
    *,
    least: int,
) -> list[list[Scored]]:
    """For each query, the first of what was found in the order of the reranker, scored by it; as
    many as it takes, and no fewer than ``least``."""
    pks = [pk for pk, _ in found if pk in rows][: max(reranker.depth, least)]
    texts = [_text(rows[pk]) for pk in pks]
    return [best_first(zip(pks, reranker.scores(query, texts), strict=True)) for query in queries]


def _text(row: Found) -> str:
    """What was embedded: a file's name is no part of what its chunks say."""
    return row.text if row.file_id is not None else f"{row.title}\n{row.text}".strip()
