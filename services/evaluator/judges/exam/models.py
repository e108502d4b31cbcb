"""The tables of exams, in the evaluator's schema."""

from datetime import UTC, datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from services.common.leases import Leased
from services.evaluator.models import Base, Json


def _now() -> datetime:
    return datetime.now(UTC)


class SittingRow(Base):
    """What a judge made of a paper, once and for all: ``figures`` are ``ExamFigures``. ``sat_for``
    names the exam or the experiment that had it sit."""

    __tablename__ = "judge_sittings"

    judge_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    exam_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    sat_for: Mapped[str] = mapped_column(String(64))
    figures: Mapped[list[Json]]


class ExamRow(Leased, Base):
    """``spec`` is an ``ExamCreate``; ``outcome`` an ``Outcome``, null until it is known."""

    __tablename__ = "judge_exams"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[datetime] = mapped_column(default=_now)
    finished_at: Mapped[datetime | None] = mapped_column(default=None)
    spec: Mapped[Json]
    file_sha256: Mapped[str] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(16), default="queued", index=True)
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    seconds_left: Mapped[float | None] = mapped_column(default=None)
    model: Mapped[str] = mapped_column(index=True)
    adapter_sha256: Mapped[str | None] = mapped_column(String(64), default=None)
    outcome: Mapped[Json | None] = mapped_column(default=None)
    error: Mapped[Json | None] = mapped_column(default=None)
