"""What may answer a query: the SQL of search.

``nearest`` and ``matching`` answer many queries in one statement and give, for each query in order,
the keys and scores of at most ``limit`` passages, best first.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    ARRAY,
    CTE,
    REAL,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    ScalarSelect,
    Select,
    Text,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import REGCONFIG, TSQUERY
from sqlalchemy.orm import Session

from services.retriever import halves
from services.retriever.halves import HALFVECS
from services.retriever.models import LANGUAGE, Passage, PassageVector, VectorStore
from services.retriever.ranking import Scored, best_first
from services.retriever.storage import Found
from services.retriever.vector_index import has_size, sized

# ts_rank's weights of D, C, B and A words: a word of the title counts a little more.
_WEIGHTS = [0.8, 0.8, 0.8, 1.0]
# And what it divides by, the logarithm of a passage's length: a long one holds more of any word.
_BY_LENGTH = 1


def breadth(ef_search: int) -> dict[str, str]:
    """What a search's connection is set to, for good: how far HNSW looks, and that it looks on
    until the limit is met.

    Without the latter a filter is applied to the nearest ``ef_search`` of *all* stores only. The
    planner, which does not know what a scan of HNSW costs, is kept from reading and sorting all,
    and a server that has LLVM from compiling a statement of milliseconds.
    """
    return {
        "hnsw.ef_search": str(ef_search),
        "hnsw.iterative_scan": "relaxed_order",
        "enable_sort": "off",
        "jit": "off",
    }


def count(session: Session, store_id: str, where: ColumnElement[bool], *, most: int) -> int:
    """Passages of the store that meet the condition, counted up to ``most``."""
    some = select(Passage.pk).where(Passage.store_id == store_id, where).limit(most).subquery()
    return session.execute(select(func.count()).select_from(some)).scalar_one()


def sampled(
    session: Session,
    store_id: str,
    where: ColumnElement[bool] | None,
    count: int,
    *,
    seed: int,
) -> tuple[list[int], npt.NDArray[np.float32]]:
    """Keys and vectors of some passages; the same seed takes the same ones while they are there."""
    drawn = func.hashint8extended(PassageVector.passage_pk, cast(seed, BigInteger))
    taken = select(PassageVector.passage_pk, cast(PassageVector.embedding, ARRAY(REAL)))
    if where is not None:
        taken = taken.join(Passage, Passage.pk == PassageVector.passage_pk).where(where)
    rows = session.execute(
        taken.where(PassageVector.store_id == store_id).order_by(drawn).limit(count)
    ).all()
    return [pk for pk, _ in rows], np.array([vector for _, vector in rows], np.float32)


def nearest(
    session: Session,
    store_id: str,
    vectors: npt.NDArray[np.float32],
    where: ColumnElement[bool] | None,
    *,
    limit: int,
    exact: bool = False,
) -> list[list[Scored]]:
    """Passages by cosine similarity to each row of ``vectors``; negative similarity counts as 0.

    ``exact`` reads every vector of the store that ``where`` leaves.
    """
    size = vectors.shape[1]
    statement = (
        _nearest_of_all(size, exact) if where is None else _nearest(where, size, exact=exact)
    )
    rows = session.execute(statement, _asking(session, store_id, vectors, limit))
    found: list[list[Scored]] = [[] for _ in vectors]
    for n, pk, score in rows:
        found[n].append((pk, _similarity(score)))
    return [best_first(hits) for hits in found]  # relaxed order may swap neighbours


def opening(
    session: Session, store_id: str, vectors: npt.NDArray[np.float32], *, limit: int, few: int
) -> tuple[VectorStore | None, list[list[Scored]], dict[int, Found]]:
    """The store, if there is one; what ``nearest`` finds in it, exactly where the store has at most
    ``few`` passages; and these by key. In one statement: between two, PostgreSQL waits for us.

    Each size of vectors is a statement that is kept: the caller knows which sizes there may be.
    """
    asked = _asking(session, store_id, vectors, limit) | {"few": few}
    rows = session.execute(_opening(vectors.shape[1]), asked)
    row = rows.first()
    store, listed = row if row is not None else (None, None)
    found: list[list[Scored]] = [[] for _ in vectors]
    passages: dict[int, Found] = {}
    for n, score, *passage in listed or ():
        passages[passage[0]] = Found(*passage)
        found[n].append((passage[0], _similarity(score)))
    return store, [best_first(hits) for hits in found], passages


@cache
def _opening(size: int) -> "Select[VectorStore, Any]":
    asked = _asked(size)

    def listed(exact: bool) -> ScalarSelect[Any]:
        near = _near(asked, None, size, exact=exact)
        shown = [getattr(Passage, name) for name in Found._fields]
        return (
            select(func.json_agg(func.json_build_array(asked.c.n, near.c.score, *shown)))
            .select_from(asked)
            .join(near, true())
            .join(Passage, Passage.pk == near.c.pk)
            .scalar_subquery()
        )

    # Of the two only the one that is taken is run.
    small = VectorStore.passages <= bindparam("few", type_=Integer)
    found = case((small, listed(exact=True)), else_=listed(exact=False))
    return select(VectorStore, found).where(VectorStore.id == bindparam("store"))


def _similarity(score: float) -> float:
    return min(max(score, 0.0), 1.0)


def _asking(
    session: Session, store_id: str, vectors: npt.NDArray[np.float32], limit: int
) -> dict[str, Any]:
    halves.connection(session)  # which takes the array as it is
    return {
        "places": list(range(len(vectors))),
        "vectors": vectors,
        "store": store_id,
        "limit": limit,
    }


@cache
def _nearest_of_all(size: int, exact: bool) -> "Select[int, int, float]":
    """Built once: for most searches that takes longer than anything else done in Python."""
    return _nearest(None, size, exact=exact)


def _nearest(
    where: ColumnElement[bool] | None, size: int, *, exact: bool
) -> "Select[int, int, float]":
    asked = _asked(size)
    near = _near(asked, where, size, exact=exact)
    return select(asked.c.n, near.c.pk, near.c.score).select_from(asked).join(near, true())


def _asked(size: int) -> CTE:
    return select(
        func.unnest(bindparam("places", type_=ARRAY(Integer))).label("n"),
        cast(func.unnest(bindparam("vectors", type_=HALFVECS())), HALFVEC(size)).label("vector"),
    ).cte("asked")


def _near(asked: CTE, where: ColumnElement[bool] | None, size: int, *, exact: bool) -> FromClause:
    """The keys and scores of the passages nearest to each vector that is asked for."""
    distance = sized(size).cosine_distance(asked.c.vector)
    hit = select(PassageVector.passage_pk.label("pk"), (1 - distance).label("score"))
    if where is not None:
        hit = hit.join(Passage, Passage.pk == PassageVector.passage_pk).where(where)
    # A sum is no order that an index has.
    order = distance + literal_column("0") if exact else distance
    mine = hit.where(PassageVector.store_id == bindparam("store"), has_size(size))
    return mine.order_by(order).limit(bindparam("limit", type_=Integer)).lateral()


def matching(
    session: Session,
    store_id: str,
    queries: Sequence[str],
    where: ColumnElement[bool] | None,
    *,
    passages: int,
    limit: int,
) -> list[list[Scored]]:
    """Passages that share any word with each query, by how much of it they cover; those of the best
    ``limit`` still without a vector are left out.

    The score is the share of the query's weight found in the passage: each word weighs its inverse
    document frequency among ``passages`` (Robertson and Spärck Jones, as in BM25) times its
    ``ts_rank`` there, which grows with repetition, falls with the passage's length and stays below
    1. PostgreSQL's rank of a whole query knows no frequencies: a word of every passage would count
    as much as a name.
    """
    words = _words(queries)
    terms = (
        select(words.c.lexeme, _as_tsquery(words.c.lexeme).label("term")).distinct().cte("terms")
    )
    matches = Passage.lexemes.op("@@")(terms.c.term)
    weighed = cast(_WEIGHTS, ARRAY(REAL))
    posting = select(
        terms.c.lexeme,
        Passage.pk,
        func.ts_rank(weighed, Passage.lexemes, terms.c.term, _BY_LENGTH).label("rank"),
    ).join(Passage, (Passage.store_id == store_id) & matches)
    if where is not None:
        posting = posting.where(where)
    postings = posting.cte("postings")
    found_in = select(postings.c.lexeme, func.count().label("df")).group_by(postings.c.lexeme)
    weights = _weights(terms, found_in.cte("found_in"), passages)
    totals = (
        select(words.c.n, func.sum(weights.c.weight).label("total"))
        .join(weights, weights.c.lexeme == words.c.lexeme)
        .group_by(words.c.n)
        .cte("totals")
    )
    score = func.sum(weights.c.weight * postings.c.rank)
    scored = (
        select(
            words.c.n,
            postings.c.pk,
            score.label("score"),
            func.row_number()
            .over(partition_by=words.c.n, order_by=(score.desc(), postings.c.pk))
            .label("place"),
        )
        .join(postings, postings.c.lexeme == words.c.lexeme)
        .join(weights, weights.c.lexeme == words.c.lexeme)
        .group_by(words.c.n, postings.c.pk)
        .subquery()
    )
    rows = session.execute(
        select(scored.c.n, scored.c.pk, scored.c.score / totals.c.total)
        .join(totals, totals.c.n == scored.c.n)
        .join(PassageVector, PassageVector.passage_pk == scored.c.pk)
        .where(scored.c.place <= limit)
    )
    found: list[list[Scored]] = [[] for _ in queries]
    for n, pk, share in rows:
        found[n].append((pk, float(share)))
    return [best_first(hits) for hits in found]


def _words(queries: Sequence[str]) -> CTE:
    """The stemmed words of each query but for stop words: ``(n, lexeme)``."""
    asked = select(
        func.unnest(cast(list(range(len(queries))), ARRAY(Integer))).label("n"),
        func.unnest(cast(list(queries), ARRAY(Text))).label("query"),
    ).cte("asked")
    language = cast(LANGUAGE, REGCONFIG)
    word = (
        func.unnest(func.to_tsvector(language, asked.c.query))
        .table_valued("lexeme", "positions", "weights")
        .render_derived()
        .lateral()
    )
    return select(asked.c.n, word.c.lexeme).select_from(asked).join(word, true()).cte("words")


def _as_tsquery(lexeme: ColumnElement[str]) -> ColumnElement[str]:
    """The query for one word that is stemmed already, quoted as tsquery's syntax wants it."""
    escaped = func.replace(func.replace(lexeme, "\\", "\\\\"), "'", "''")
    return cast(func.concat("'", escaped, "'"), TSQUERY)


def _weights(terms: CTE, found_in: CTE, passages: int) -> CTE:
    """Each word's ``ln(1 + (N - df + 0.5) / (df + 0.5))``; a word found nowhere has the largest."""
    df = func.coalesce(found_in.c.df, 0)
    # df may pass N while passages still wait for their vectors.
    rarity = (func.greatest(literal(passages) - df, 0) + 0.5) / (df + 0.5)
    return (
        select(terms.c.lexeme, func.ln(1 + rarity).label("weight"))
        .outerjoin(found_in, found_in.c.lexeme == terms.c.lexeme)
        .cte("weights")
    )
