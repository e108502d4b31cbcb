"""Vectors on their way to PostgreSQL, in its binary form: as text, each is thousands of digits to
write and to read again.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import psycopg
from pgvector.psycopg.halfvec import register_halfvec_info
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types import TypeInfo
from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlalchemy.types import UserDefinedType

_OIDS = text(
    "select cast(oid as bigint), cast(typarray as bigint) from pg_type "
    "where oid = to_regtype('halfvec')"
)


class HALFVECS(UserDefinedType[npt.NDArray[np.floating]]):
    """Type of a parameter: an array of shape ``(n, size)``, for a connection from ``connection``,
    is PostgreSQL's array of n vectors, rounded to half precision."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "halfvec[]"


def connection(session: Session) -> psycopg.Connection | psycopg.AsyncConnection:
    """The session's, which takes pgvector's ``HalfVector`` and, by the row, arrays of numpy's."""
    found: psycopg.Connection | psycopg.AsyncConnection
    found = session.connection().connection.driver_connection  # type: ignore[assignment]
    if found.adapters.types.get("halfvec") is None:
        oid, array_oid = session.execute(_OIDS).one()
        register_halfvec_info(found, TypeInfo("halfvec", oid, array_oid))
        found.adapters.register_dumper(np.ndarray, _dumper(oid, array_oid))
    return found


def _dumper(of_one: int, of_many: int) -> type[Dumper]:
    """psycopg's for lists asks after the type of every item, which takes longer than the digits."""

    class RowsDumper(Dumper):
        format = Format.BINARY
        oid = of_many

        def dump(self, obj: npt.NDArray[np.floating]) -> bytes:
            """As array_send and halfvec_send of PostgreSQL and pgvector write them."""
            count, size = obj.shape
            head = struct.pack(">5i", 1, 0, of_one, count, 1)  # dimensions, nulls, ..., from 1 on
            each = struct.pack(">iHH", 4 + 2 * size, size, 0)
            return head + b"".join(each + row.tobytes() for row in obj.astype(">f2"))

    return RowsDumper
