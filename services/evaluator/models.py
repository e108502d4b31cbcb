"""The evaluator's tables, in the PostgreSQL schema ``evaluator``."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, ForeignKey, ForeignKeyConstraint, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.common.db import service_metadata
from services.common.leases import Leased

Json = dict[str, Any]


def _now() -> datetime:
    return datetime.now(UTC)


class Base(DeclarativeBase):
    metadata = service_metadata("evaluator")
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads a plain class attribute
        Json: JSONB(none_as_null=True),
        list[Json]: JSONB(none_as_null=True),
        list[str]: JSONB(none_as_null=True),
        datetime: DateTime(timezone=True),
    }


class Experiment(Leased, Base):
    """``spec`` is an ``ExperimentCreate``, ``proofs`` the arms as proven, ``report`` a ``Report``.

    ``phase`` is what a worker does, or did last; ``timings`` are seconds per phase, over all
    workers that had a hand in it.
    """

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    name: Mapped[str]
    spec: Mapped[Json]
    dataset_sha256: Mapped[str]
    status: Mapped[str] = mapped_column(String(16), default="queued", index=True)
    phase: Mapped[str] = mapped_column(String(16), default="queued")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    seconds_left: Mapped[float | None] = mapped_column(default=None)
    arms: Mapped[list[Json]] = mapped_column(default=list)
    timings: Mapped[Json] = mapped_column(default=dict)
    headline: Mapped[str | None] = mapped_column(default=None)
    report: Mapped[Json | None] = mapped_column(default=None, deferred=True)
    error: Mapped[Json | None] = mapped_column(default=None)


class Item(Base):
    """A question with what every arm is given for it: retrieval happens once, here.

    ``references`` are long forms of the right answer, ``aliases`` short ones; ``retrieved`` and
    ``oracle`` are lists of ``GivenPassage``.
    """

    __tablename__ = "items"

    experiment_id: Mapped[str] = mapped_column(
        ForeignKey("evaluator.experiments.id", ondelete="CASCADE"), primary_key=True
    )
    item_id: Mapped[str] = mapped_column(primary_key=True)
    ordinal: Mapped[int]
    question: Mapped[str]
    reference: Mapped[str]
    references: Mapped[list[str]]
    aliases: Mapped[list[str]]
    cluster: Mapped[str]
    evidence_ids: Mapped[list[str]]
    retrieved: Mapped[list[Json]]
    oracle: Mapped[list[Json]]
    distractors: Mapped[list[Json]]


class Answer(Base):
    """What one arm said to one item under one condition. ``error`` set: it counts as unscored."""

    __tablename__ = "answers"
    __table_args__ = (
        ForeignKeyConstraint(
            ["experiment_id", "item_id"],
            ["evaluator.items.experiment_id", "evaluator.items.item_id"],
            ondelete="CASCADE",
        ),
    )

    experiment_id: Mapped[str] = mapped_column(primary_key=True)
    item_id: Mapped[str] = mapped_column(primary_key=True)
    arm: Mapped[str] = mapped_column(String(64), primary_key=True)
    condition: Mapped[str] = mapped_column(String(16), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    text: Mapped[str | None] = mapped_column(default=None)
    finish_reason: Mapped[str | None] = mapped_column(default=None)
    passage_ids: Mapped[list[str]] = mapped_column(default=list)
    left_out: Mapped[list[str]] = mapped_column(default=list)
    prompt_sha256: Mapped[str | None] = mapped_column(default=None)
    adapter_sha256: Mapped[str | None] = mapped_column(default=None)
    prompt_tokens: Mapped[int | None] = mapped_column(default=None)
    completion_tokens: Mapped[int | None] = mapped_column(default=None)
    generation_ms: Mapped[float | None] = mapped_column(default=None)
    scores: Mapped[Json] = mapped_column(default=dict)
    error: Mapped[str | None] = mapped_column(default=None)
