"""Tables of the schema ``trainer``.

Times are those of the database's callers, in UTC; ids sort by the time they were made.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    Identity,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.contracts.hyperparameters import (
    DpoHyperparameters,
    Method,
    SupervisedHyperparameters,
)
from services.common.db import service_metadata
from services.common.leases import Leased
from services.common.webhooks import Outgoing


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
    """An upload or a result; its content lies in the artifact store under ``files/<id>``.

    After ``expires_at`` it is as good as deleted.
    """

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[datetime | None] = mapped_column(index=True)

    @property
    def key(self) -> str:
        return f"files/{self.id}"


class Upload(Base):
    """A file that arrives in parts. ``status`` is pending, completed, cancelled; a pending one past
    ``expires_at`` has expired. ``size`` is what the caller said the whole will have, in bytes.

    ``file_id`` names the file it becomes, from the start: a completion that was cut off is done
    again over its own remains. ``cleared`` says that nothing but the file is left in the store.
    """

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    filename: Mapped[str] = mapped_column(Text)
    purpose: Mapped[str] = mapped_column(String(32))
    mime_type: Mapped[str] = mapped_column(Text)
    size: Mapped[int] = mapped_column(BigInteger)
    file_expires_after: Mapped[int | None]
    status: Mapped[str] = mapped_column(String(16))
    file_id: Mapped[str] = mapped_column(String(64))
    cleared: Mapped[bool] = mapped_column(default=False, index=True)

    @property
    def file_key(self) -> str:
        return f"files/{self.file_id}"

    @property
    def parts_key(self) -> str:
        return f"uploads/{self.id}"


class UploadPart(Base):
    """A part's content lies in the artifact store under ``uploads/<upload>/<id>``."""

    __tablename__ = "upload_parts"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    upload_id: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[datetime]
    size: Mapped[int] = mapped_column(BigInteger)

    @property
    def key(self) -> str:
        return f"uploads/{self.upload_id}/{self.id}"


class Job(Leased, Base):
    """One fine-tuning. ``method`` starts as asked and has every ``auto`` resolved once the files
    are validated (``validated_at``); ``estimated_finish`` is kept only while it runs.

    ``caller`` is the name of the key that made it; with ``idempotency_key`` it names one job, whose
    request had ``request_sha256``. ``slot`` is where a worker runs it, ``<host>:<devices>``;
    ``started_at`` is when it last had its turn. ``attempts`` counts since it last got further.
    ``paused_from`` is the status to go back to. ``micro_batch_halvings`` counts how often it ran
    out of memory and went on with half as many examples at once.
    """

    __tablename__ = "jobs"
    __table_args__ = (UniqueConstraint("caller", "idempotency_key"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]
    validated_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
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
    caller: Mapped[str] = mapped_column(String(200), default="local")
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    request_sha256: Mapped[str | None] = mapped_column(String(64))
    priority: Mapped[int] = mapped_column(default=0)
    checks: Mapped[dict[str, Any]]
    integrations: Mapped[list[dict[str, Any]]]
    slot: Mapped[str | None] = mapped_column(Text)
    paused_from: Mapped[str | None] = mapped_column(String(20))
    micro_batch_halvings: Mapped[int] = mapped_column(default=0)
    training_seconds: Mapped[float | None]
    peak_memory_bytes: Mapped[int | None] = mapped_column(BigInteger)

    @property
    def adapter_name(self) -> str:
        return f"ft:{self.model}:{self.suffix}:{self.id}"

    @property
    def hyperparameters(self) -> SupervisedHyperparameters | DpoHyperparameters:
        return Method.model_validate(self.method).hyperparameters


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
    """The registry. Rows never change; ``url`` is content-addressed (job, step, sha256).

    A job has one that is no ``candidate``, that of its last step; ``number`` is the order of
    registration.
    """

    __tablename__ = "adapters"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, Identity(always=True), unique=True)
    job_id: Mapped[str] = mapped_column(String(64), index=True)
    candidate: Mapped[bool] = mapped_column(default=False)
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


class Export(Leased, Base):
    """An adapter on its way out of the registry: merged or not, to a Hugging Face repository or an
    fsspec URL. ``status`` is queued, running, succeeded, failed; ``url`` is where it ended."""

    __tablename__ = "exports"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    adapter_id: Mapped[str] = mapped_column(Text, index=True)
    caller: Mapped[str] = mapped_column(String(200))
    merge: Mapped[bool]
    destination: Mapped[dict[str, Any]]
    status: Mapped[str] = mapped_column(String(16), index=True)
    url: Mapped[str | None] = mapped_column(Text)
    error: Mapped[dict[str, Any] | None]


class Delivery(Outgoing, Base):
    """One webhook event of a job for one of the operator's endpoints."""

    __tablename__ = "deliveries"

    job_id: Mapped[str] = mapped_column(String(64), index=True)

    @property
    def about(self) -> str:
        return self.job_id


class Device(Base):
    """What a worker found out about where it trains; ``id`` is ``<host>:<slot>``.

    ``flops`` are floating-point operations a second of a large matrix product, measured.
    """

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(Text, primary_key=True)
    seen_at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(Text)
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    flops: Mapped[float | None]
