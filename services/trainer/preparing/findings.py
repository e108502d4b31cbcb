"""What is found out about a job's data: told in events, or the end of the job."""

import sqlite3
from hashlib import blake2b
from typing import Any, Literal

from pydantic import BaseModel

from services.trainer.training.config import Failure

_CACHE_KIB = 8 * 1024


class JobFailed(Exception):
    """The job cannot succeed, whoever tries again."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Finding(BaseModel):
    """What the caller should know of the data, as an event says it."""

    message: str
    level: Literal["info", "warn"] = "warn"
    data: dict[str, Any] | None = None


class Notes:
    """Which texts were met before, and which lines are to be left out.

    In a private file of SQLite's, which deletes it: a million lines are not held in memory.
    """

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        for pragma in ("synchronous = off", "journal_mode = off", f"cache_size = -{_CACHE_KIB}"):
            self._db.execute(f"pragma {pragma}")
        self._db.execute("begin")
        self._db.execute("create table met (key blob primary key, exact blob) without rowid")
        self._db.execute("create table marked (line integer primary key, kind text)")

    def meet(self, kind: str, text: str, exact: str = "") -> Literal["new", "near", "exact"]:
        """Remember ``text``; tells whether it was met before, and as ``exact`` too."""
        key, own = _key(kind, text), _key(kind, exact)
        added = self._db.execute("insert or ignore into met values (?, ?)", (key, own))
        if added.rowcount:
            return "new"
        [first] = self._db.execute("select exact from met where key = ?", (key,)).fetchone()
        return "exact" if first == own else "near"

    def has_met(self, kind: str, text: str) -> bool:
        found = self._db.execute("select 1 from met where key = ?", (_key(kind, text),))
        return found.fetchone() is not None

    def mark(self, line: int, kind: str) -> None:
        """Leave ``line`` out, for the first reason that was given."""
        self._db.execute("insert or ignore into marked values (?, ?)", (line, kind))

    def is_marked(self, line: int) -> bool:
        found = self._db.execute("select 1 from marked where line = ?", (line,))
        return found.fetchone() is not None

    def marked(self) -> dict[str, int]:
        """How many lines are left out, by reason."""
        counted = self._db.execute("select kind, count(*) from marked group by kind order by kind")
        return dict(counted.fetchall())

    def close(self) -> None:
        self._db.close()


def _key(kind: str, text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16, person=kind.encode()).digest()
