"""Vectors of texts that were embedded before, by any store: SQL of ``storage``."""

from collections.abc import Sequence
from hashlib import sha256

import numpy as np
import numpy.typing as npt
from sqlalchemy import ARRAY, REAL, cast, delete, func, select, text, update
from sqlalchemy.orm import Session

from services.common.ids import now
from services.retriever.models import DAY, Embedding

Vector = npt.NDArray[np.float32]

_KEEP = """
insert into retriever.embeddings (model, content, embedding, used_at)
select distinct on (content) :model, content, embedding, cast(:moment as bigint)
from unnest(cast(:pks as bigint[]), cast(:contents as bytea[])) as new (pk, content)
join retriever.passage_vectors on passage_pk = pk
order by content
on conflict do nothing
"""


def content_of(text: str) -> bytes:
    return sha256(text.encode()).digest()


def find(session: Session, model: str, contents: Sequence[bytes]) -> dict[bytes, Vector]:
    """The vectors that ``model`` gave to these contents; those it did not embed are left out."""
    there = (Embedding.model == model) & (Embedding.content == func.any(list(contents)))
    numbers = cast(Embedding.embedding, ARRAY(REAL))
    rows = session.execute(select(Embedding.content, numbers).where(there))
    found = {content: np.asarray(vector, np.float32) for content, vector in rows}
    # A day's precision spares most looks a write; what another worker notes is noted.
    stale = (
        select(Embedding.content)
        .where(there, Embedding.used_at < now() - DAY)
        .with_for_update(skip_locked=True)
    )
    session.execute(
        update(Embedding)
        .where(Embedding.model == model, Embedding.content.in_(stale))
        .values(used_at=now())
        .execution_options(synchronize_session=False)
    )
    return found


def keep(session: Session, model: str, new: dict[int, bytes]) -> None:
    """Remember the vectors that passages of these keys were given in this transaction.

    In the order of contents: of two workers who keep the same ones, one waits for the other.
    """
    if new:
        names = {"model": model, "moment": now()}
        session.execute(text(_KEEP), names | {"pks": list(new), "contents": list(new.values())})


def forget(session: Session, *, days: int, limit: int = 10_000) -> int:
    """Remove some of the vectors that nobody asked for in ``days``; gives their number."""
    old = (
        select(Embedding.model, Embedding.content)
        .where(Embedding.used_at < now() - days * DAY)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("old")
    )
    gone = session.execute(
        delete(Embedding)
        .where(Embedding.model == old.c.model, Embedding.content == old.c.content)
        .returning(Embedding.used_at)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
