"""The evaluator's tables, in the PostgreSQL schema ``evaluator``."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    DateTime,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    String,
    Text,
)
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
    """``spec`` is an ``ExperimentCreate``, ``proofs`` the arms as proven, ``judge`` a
    ``ReportJudge`` without figures, ``report`` a ``Report``.

    ``panel`` are what arms said to the forgetting panel, ``PanelAnswer``s.
    ``tunings`` are the jobs that make its arms; ``settled`` ones need no cancelling any more.
    ``phase`` is what a worker does, or did last; ``timings`` are seconds per phase, over all
    workers that had a hand in it, and so is ``spent``, a ``Spent``.
    """

    __tablename__ = "experiments"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    name: Mapped[str]
    spec: Mapped[Json]
    spec_sha256: Mapped[str | None] = mapped_column(String(64), default=None)
    dataset_sha256: Mapped[str]
    status: Mapped[str] = mapped_column(String(16), default="queued", index=True)
    phase: Mapped[str] = mapped_column(String(16), default="queued")
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    seconds_left: Mapped[float | None] = mapped_column(default=None)
    tunings: Mapped[list[Json]] = mapped_column(default=list)
    arms: Mapped[list[Json]] = mapped_column(default=list)
    timings: Mapped[Json] = mapped_column(default=dict)
    spent: Mapped[Json] = mapped_column(default=dict)
    panel: Mapped[list[Json] | None] = mapped_column(default=None, deferred=True)
    headline: Mapped[str | None] = mapped_column(default=None)
    judge: Mapped[Json | None] = mapped_column(default=None)
    report: Mapped[Json | None] = mapped_column(default=None, deferred=True)
    error: Mapped[Json | None] = mapped_column(default=None)


class Tuning(Base):
    """The latest job of a ``definition``, all that decides what an adapter becomes.

    ``sample`` is the digest of the pairs it is trained on, ``file_id`` a file at the trainer that
    holds them. A job that ended badly is followed by the next ``attempt``.
    """

    __tablename__ = "tunings"

    definition: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    sample: Mapped[str] = mapped_column(String(64), index=True)
    file_id: Mapped[str]
    attempt: Mapped[int] = mapped_column(default=0)
    job_id: Mapped[str | None] = mapped_column(default=None)


class GateRow(Base):
    """A gate as it was decided: ``gate`` is a ``Gate``."""

    __tablename__ = "gates"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    experiment_id: Mapped[str] = mapped_column(
        ForeignKey("evaluator.experiments.id", ondelete="CASCADE"), index=True
    )
    gate: Mapped[Json]


class Item(Base):
    """A question with what every arm is given for it: retrieval happens once, here.

    ``references`` are long forms of the right answer, ``aliases`` short ones; ``retrieved`` and
    ``oracle`` are lists of ``GivenPassage``. ``ranking`` are ids of what was found, best first,
    whether a prompt held it or not.
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
    ranking: Mapped[list[str]] = mapped_column(default=list)


class Answer(Base):
    """What one arm said to one item under one condition. ``error`` set: it counts as unscored;
    ``citations`` are the generator's.

    ``training_seed`` tells the adapters of an arm apart, 0 where it was not made here; ``repeat``
    counts from 0 the times each was asked. ``judgments`` are a ``Judgment`` by metric once a judge
    had its turn, ``preference`` what it thought of the answer beside the baseline's.
    """

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
    training_seed: Mapped[int] = mapped_column(primary_key=True, default=0)
    repeat: Mapped[int] = mapped_column(primary_key=True, default=0)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    text: Mapped[str | None] = mapped_column(default=None)
    finish_reason: Mapped[str | None] = mapped_column(default=None)
    passage_ids: Mapped[list[str]] = mapped_column(default=list)
    left_out: Mapped[list[str]] = mapped_column(default=list)
    citations: Mapped[list[Json]] = mapped_column(default=list)
    prompt_sha256: Mapped[str | None] = mapped_column(default=None)
    adapter_sha256: Mapped[str | None] = mapped_column(default=None)
    prompt_tokens: Mapped[int | None] = mapped_column(default=None)
    completion_tokens: Mapped[int | None] = mapped_column(default=None)
    generation_ms: Mapped[float | None] = mapped_column(default=None)
    attribution: Mapped[Json | None] = mapped_column(default=None)
    scores: Mapped[Json] = mapped_column(default=dict)
    judgments: Mapped[Json | None] = mapped_column(default=None)
    preference: Mapped[Json | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(default=None)


class Cached(Base):
    """What a model said, by what was asked: see ``cache``. ``value`` is JSON as text, which holds
    what ``jsonb`` refuses, of ``bytes`` bytes."""

    __tablename__ = "cache"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str] = mapped_column(Text)
    bytes: Mapped[int]
    used_at: Mapped[datetime] = mapped_column(default=_now, index=True)


class Event(Base):
    """Something that happened to an experiment: ``type`` and ``data`` are an
    ``ExperimentEvent``'s."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_experiment_id", "experiment_id", "id"),)

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    experiment_id: Mapped[str] = mapped_column(
        ForeignKey("evaluator.experiments.id", ondelete="CASCADE")
    )
    created_at: Mapped[datetime] = mapped_column(default=_now)
    type: Mapped[str] = mapped_column(String(16))
    message: Mapped[str]
    data: Mapped[Json]
