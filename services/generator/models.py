"""The generator's tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, String, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.db import service_metadata

METADATA = service_metadata("generator")


class Base(DeclarativeBase):
    metadata = METADATA


class AdapterRow(Base):
    """An adapter that was asked for.

    ``loading`` and ``loaded`` are wanted in every vLLM replica, ``failed`` and ``unloaded`` in
    none. ``record`` is the registry's :class:`AdapterRecord` as it was when the adapter was last
    asked for: after a restart adapters come back while the trainer is away. ``proofs`` holds one
    :class:`AdapterProof` a replica.
    """

    __tablename__ = "adapters"

    name: Mapped[str] = mapped_column(String(256), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    record: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(String(16))
    proofs: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    error_code: Mapped[str | None] = mapped_column(String(64), default=None)
    error_message: Mapped[str | None] = mapped_column(Text, default=None)
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )
