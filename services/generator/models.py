"""The generator's tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, ForeignKey, Index, String, Text, false, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.db import service_metadata

METADATA = service_metadata("generator")


class Base(DeclarativeBase):
    metadata = METADATA


class AdapterRow(Base):
    """An adapter that was asked for.

    ``fetching``, ``loading``, ``proving`` and ``loaded`` are wanted in every vLLM replica, the
    other statuses in none. ``record`` is the registry's :class:`AdapterRecord` as it was when the
    adapter was last asked for: after a restart adapters come back while the trainer is away.
    ``proofs`` holds the last :class:`AdapterProof` of each replica. ``last_used_at`` is written
    back at intervals; the processes know better.
    """

    __tablename__ = "adapters"

    name: Mapped[str] = mapped_column(String(256), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    record: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(String(16))
    proofs: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    pinned: Mapped[bool] = mapped_column(server_default=false(), default=False)
    last_used_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True), default=None)
    error_code: Mapped[str | None] = mapped_column(String(64), default=None)
    error_message: Mapped[str | None] = mapped_column(Text, default=None)
    updated_at: Mapped[datetime] = mapped_column(
        DateTime(timezone=True), server_default=func.now(), onupdate=func.now()
    )


class TrialRow(Base):
    """What came of one adapter being proven in one replica: an :class:`AdapterProof` or an error.

    The last few of each adapter and replica are kept.
    """

    __tablename__ = "trials"
    __table_args__ = (Index(None, "adapter", "replica", "id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    adapter: Mapped[str] = mapped_column(String(256))
    replica: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(String(64))
    proof: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    error_code: Mapped[str | None] = mapped_column(String(64), default=None)
    error_message: Mapped[str | None] = mapped_column(Text, default=None)
    tried_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


class AliasRow(Base):
    """A name that stands for an adapter; ``gate`` is the ``GateRef`` that it was given for.

    ``since`` and ``created_by`` say when and by whose key it came to stand for this adapter.
    """

    __tablename__ = "aliases"

    name: Mapped[str] = mapped_column(String(256), primary_key=True)
    adapter: Mapped[str] = mapped_column(
        String(256), ForeignKey("generator.adapters.name"), index=True
    )
    sha256: Mapped[str] = mapped_column(String(64))
    gate: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    since: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    created_by: Mapped[str] = mapped_column(String(256))


class AliasChangeRow(Base):
    """What an alias came to stand for; ``adapter`` is null where it was deleted. Stays for ever."""

    __tablename__ = "alias_changes"
    __table_args__ = (Index(None, "alias", "id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    alias: Mapped[str] = mapped_column(String(256))
    adapter: Mapped[str | None] = mapped_column(String(256), default=None)
    sha256: Mapped[str | None] = mapped_column(String(64), default=None)
    gate: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True), default=None)
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())
    created_by: Mapped[str] = mapped_column(String(256))
