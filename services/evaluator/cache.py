"""What models said before: no request is made of the same model twice.

Content-addressed: a key says what was asked, of which weights, and for which repeat. Nothing in it
names an experiment, so one that asks what another asked is answered from here. Knows no phase.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import structlog
from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.evaluator.models import Cached, Json

log = structlog.get_logger(__name__)

MOST_BYTES = 1_000_000  # of one value
AT_ONCE = 1_000  # keys in one statement
_STALE = timedelta(hours=1)  # how far behind the time of last use may be


@dataclass(frozen=True)
class ServedBy:
    """The model as the generator names it, the SHA-256 of its adapter, None for a base, and the
    revision of the base model's weights, None where the generator cannot say."""

    model: str
    adapter_sha256: str | None
    base_revision: str | None = None

    def differs(self, other: "ServedBy") -> bool:
        """Whether other weights are known to answer, by whatever name."""
        if self.adapter_sha256 != other.adapter_sha256:
            return True
        bases = self.base_revision, other.base_revision
        return None not in bases and bases[0] != bases[1]

    @property
    def weights(self) -> str:
        """For people: an adapter's hash, or which base model."""
        return self.adapter_sha256 or " ".join(filter(None, ("a base model", self.base_revision)))


def key_of(request: Json, served_by: ServedBy, repeat: int = 0) -> str:
    """SHA-256 (hex) over the canonical JSON of all that an answer depends on.

    ``request`` is JSON-serialisable and finite, ``repeat`` counts from 0 the times it is asked.
    """
    asked = {"request": request, "served_by": asdict(served_by), "repeat": repeat}
    canonical = json.dumps(asked, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def get_many(session: Session, keys: Collection[str]) -> dict[str, Json]:
    """The values there are, by key; what is read counts as used."""
    found: dict[str, Json] = {}
    for some in _slices(keys):
        rows = session.execute(select(Cached.key, Cached.value).where(Cached.key.in_(some))).all()
        if not rows:
            continue
        found.update((key, json.loads(value)) for key, value in rows)
        moment = datetime.now(UTC)
        session.execute(
            update(Cached)
            .where(Cached.key.in_([key for key, _ in rows]), Cached.used_at < moment - _STALE)
            .values(used_at=moment)
            .execution_options(synchronize_session=False)
        )
    return found


def put_many(session: Session, values: Mapping[str, Json]) -> None:
    """Keep values; a key that is there keeps its first. More than ``MOST_BYTES`` is not kept."""
    rows = []
    for key in sorted(values):  # in one order everywhere, so that two writers cannot deadlock
        value = json.dumps(values[key], separators=(",", ":"), allow_nan=False)
        if len(value) > MOST_BYTES:
            log.warning("too_large_to_cache", key=key, bytes=len(value))
            continue
        rows.append({"key": key, "value": value, "bytes": len(value)})
    for start in range(0, len(rows), AT_ONCE):
        session.execute(
            insert(Cached).values(rows[start : start + AT_ONCE]).on_conflict_do_nothing()
        )


def forget(session: Session, keys: Collection[str]) -> None:
    for some in _slices(keys):
        session.execute(delete(Cached).where(Cached.key.in_(some)))


def clean(session: Session, *, days: int, most_bytes: int) -> int:
    """Drop what was not used for ``days``, then the longest unused over ``most_bytes`` in all.

    Returns how many values went.
    """
    before = datetime.now(UTC) - timedelta(days=days)
    gone = len(
        session.scalars(delete(Cached).where(Cached.used_at < before).returning(Cached.key)).all()
    )
    if (session.scalar(select(func.sum(Cached.bytes))) or 0) <= most_bytes:
        return gone
    newest_first = func.sum(Cached.bytes).over(order_by=(Cached.used_at.desc(), Cached.key))
    sized = select(Cached.key, newest_first.label("so_far")).subquery()
    beyond = select(sized.c.key).where(sized.c.so_far > most_bytes)
    dropped = session.scalars(delete(Cached).where(Cached.key.in_(beyond)).returning(Cached.key))
    return gone + len(dropped.all())


def _slices(keys: Collection[str]) -> list[list[str]]:
    ordered = sorted(set(keys))
    return [ordered[start : start + AT_ONCE] for start in range(0, len(ordered), AT_ONCE)]
