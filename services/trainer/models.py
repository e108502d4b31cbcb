"""Tables of the schema ``trainer``."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, DateTime, Identity, Index, String, Text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.db import service_metadata
from services.common.leases import Leased


class Base(DeclarativeBase):
    metadata = service_metadata("trainer")
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB,
        dict[str, str]: JSONB,
        dict[str, float]: JSONB,
        list[str]: JSONB,
        list[dict[str, Any]]: JSONB,
    }


class File(Base):
    """An upload or a result; its content lies in the artifact store under ``files/<id>``."""

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))

    @property
    def key(self) -> str:
        return f"files/{self.id}"


class Job(Leased, Base):
    """One fine-tuning. ``method`` starts as asked and has every ``auto`` resolved once the files
    are validated; ``estimated_finish`` is kept only while it runs."""

    __tablename__ = "jobs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    estimated_finish: Mapped[datetime | None]
    status: Mapped[str] = mapped_column(String(20), index=True)
    model: Mapped[str] = mapped_column(Text)
    suffix: Mapped[str] = mapped_column(String(64))
    seed: Mapped[int]
    training_file: Mapped[str] = mapped_column(String(64), index=True)
    validation_file: Mapped[str | None] = mapped_column(String(64), index=True)
    method: Mapped[dict[str, Any]]
    job_metadata: Mapped[dict[str, str]] = mapped_column("metadata", JSONB)
    step: Mapped[int] = mapped_column(default=0)
    total_steps: Mapped[int | None]
    trained_tokens: Mapped[int | None] = mapped_column(BigInteger)
    fine_tuned_model: Mapped[str | None] = mapped_column(Text)
    result_files: Mapped[list[str]]
    error: Mapped[dict[str, Any] | None]

    @property
    def adapter_name(self) -> str:
        return f"ft:{self.model}:{self.suffix}:{self.id}"


class Event(Base):
    """What happened to a job. Writers lock the job's row first, so that within a job a larger id
    is also a later commit: whoever pages by id misses none."""

    __tablename__ = "events"
    __table_args__ = (Index(None, "job_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(always=True), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime]
    level: Mapped[str] = mapped_column(String(8))
    type: Mapped[str] = mapped_column(String(8))
    message: Mapped[str] = mapped_column(Text)
    data: Mapped[dict[str, Any] | None]


class Checkpoint(Base):
    """A step of a job whose adapter is in the registry and can be served."""

    __tablename__ = "checkpoints"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[datetime]
    step: Mapped[int]
    fine_tuned_model: Mapped[str] = mapped_column(Text)
    metrics: Mapped[dict[str, float]]


class Adapter(Base):
    """The registry. Rows never change; ``url`` is content-addressed (job, step, sha256)."""

    __tablename__ = "adapters"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    job_id: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    base_model: Mapped[str] = mapped_column(Text)
    recipe: Mapped[str] = mapped_column(String(16))
    step: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    rank: Mapped[int]
    target_modules: Mapped[list[str]]
    url: Mapped[str] = mapped_column(Text)
    files: Mapped[list[dict[str, Any]]]
    metrics: Mapped[dict[str, float]]
