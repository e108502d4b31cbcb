"""The SQL of uploads and their parts."""

from collections.abc import Sequence

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from services.trainer.models import Upload, UploadPart
from services.trainer.storage import SWEEP, now


def get_upload(session: Session, upload_id: str, *, lock: str) -> Upload | None:
    """``lock`` is ``share`` to keep the upload from ending, ``update`` to end it."""
    return session.scalar(
        select(Upload).where(Upload.id == upload_id).with_for_update(read=lock == "share")
    )


def parts_of(session: Session, upload_id: str) -> Sequence[UploadPart]:
    return session.scalars(select(UploadPart).where(UploadPart.upload_id == upload_id)).all()


def bytes_of_parts(session: Session, upload_id: str) -> int:
    total = select(func.sum(UploadPart.size)).where(UploadPart.upload_id == upload_id)
    return int(session.scalar(total) or 0)


def forget_parts(session: Session, upload_id: str) -> None:
    session.execute(delete(UploadPart).where(UploadPart.upload_id == upload_id))


def lock_ended_uploads(session: Session) -> Sequence[Upload]:
    """Some that are completed, cancelled or expired, and not cleared yet."""
    return session.scalars(
        select(Upload)
        .where(~Upload.cleared, or_(Upload.status != "pending", Upload.expires_at <= now()))
        .limit(SWEEP)
        .with_for_update(skip_locked=True)
    ).all()
