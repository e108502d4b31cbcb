"""The tables of evals, in the evaluator's schema."""

from datetime import UTC, datetime

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from services.common.leases import Leased
from services.common.webhooks import Outgoing
from services.evaluator.models import Base, Json


def now() -> datetime:
    return datetime.now(UTC)


class EvalRow(Base):
    """``config`` is a ``DataSourceConfig``, ``criteria`` a list of ``Grader``, as they came."""

    __tablename__ = "evals"
    __table_args__ = (Index("ix_evals_updated_at_id", "updated_at", "id"),)

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now)
    name: Mapped[str]
    details: Mapped[Json | None]
    config: Mapped[Json]
    criteria: Mapped[list[Json]]


class RunRow(Leased, Base):
    """``data_source`` is a ``DataSource``, an inline one without its content: that is in the
    output items. ``tally`` holds the counts of the items done; ``items`` is set once all are there.
    ``served`` has, by each model's name, the SHA-256 of the adapter that the first turn found, null
    for a base."""

    __tablename__ = "eval_runs"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    eval_id: Mapped[str] = mapped_column(
        ForeignKey("evaluator.evals.id", ondelete="CASCADE"), index=True
    )
    created_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    name: Mapped[str]
    model: Mapped[str]
    details: Mapped[Json | None]
    data_source: Mapped[Json]
    status: Mapped[str] = mapped_column(String(16), default="queued", index=True)
    items: Mapped[int | None] = mapped_column(default=None)
    tally: Mapped[Json] = mapped_column(default=dict)
    served: Mapped[Json | None] = mapped_column(default=None)
    error: Mapped[Json | None] = mapped_column(default=None)


class OutputItemRow(Base):
    """One item of a run. ``pending`` until its sample is graded; ids sort as ordinals do.

    ``given`` is the sample that came with the item, ``sample`` the one that was graded.
    """

    __tablename__ = "eval_output_items"
    __table_args__ = (
        UniqueConstraint("run_id", "ordinal"),
        Index("ix_eval_output_items_run_id_status_ordinal", "run_id", "status", "ordinal"),
    )

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("evaluator.eval_runs.id", ondelete="CASCADE"))
    ordinal: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(default=now)
    item: Mapped[Json]
    item_sha256: Mapped[str] = mapped_column(String(64))
    given: Mapped[Json | None]
    status: Mapped[str] = mapped_column(String(16), default="pending")
    results: Mapped[list[Json]] = mapped_column(default=list)
    sample: Mapped[Json | None] = mapped_column(default=None)


class EventRow(Outgoing, Base):
    """One webhook event of a run for one of the operator's endpoints."""

    __tablename__ = "eval_events"

    run_id: Mapped[str] = mapped_column(String(64), index=True)

    @property
    def about(self) -> str:
        return self.run_id
