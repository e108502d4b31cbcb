"""The rules of files, as a caller meets them."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from services.common.contracts.base import Deleted, Page
from services.common.contracts.trainer import FileObject
from services.common.db import after_commit
from services.common.errors import Conflict, InvalidRequest, NotFound
from services.common.ids import new_id
from services.common.pagination import Cursor, to_page
from services.common.storage import CHUNK
from services.trainer import storage
from services.trainer.context import Trainer
from services.trainer.models import File
from services.trainer.schemas import UPLOAD_PURPOSES, IncomingFile
from services.trainer.views import show_file


def create_file(session: Session, trainer: Trainer, incoming: IncomingFile) -> FileObject:
    if incoming.purpose not in UPLOAD_PURPOSES:
        known = ", ".join(UPLOAD_PURPOSES)
        raise InvalidRequest(
            f"'{incoming.purpose[:40]}' is not a purpose; give one of {known}.",
            code="invalid_value",
            param="purpose",
        )
    moment = storage.now()
    row = File(
        id=new_id("file"),
        created_at=moment,
        filename=plain_name(incoming.filename),
        purpose=incoming.purpose,
        expires_at=expiry(moment, incoming.expires_after),
    )
    stored = trainer.store.write(row.key, iter(lambda: incoming.content.read(CHUNK), b""))
    if stored.bytes == 0:
        trainer.store.delete(row.key)
        raise InvalidRequest("The file is empty.", code="empty_file", param="file")
    row.size, row.sha256 = stored.bytes, stored.sha256
    storage.add_all(session, [row])
    return show_file(row)


def plain_name(filename: str) -> str:
    """The name alone, without folders or control characters; it is shown, never opened."""
    name = re.split(r"[/\\]", filename)[-1]
    return "".join(letter for letter in name if letter.isprintable())[:255] or "upload"


def expiry(created_at: datetime, seconds: int | None) -> datetime | None:
    return None if seconds is None else created_at + timedelta(seconds=seconds)


def list_files(session: Session, cursor: Cursor, purpose: str | None) -> Page[FileObject]:
    rows, has_more = storage.list_files(session, cursor, purpose=purpose)
    return to_page([show_file(row) for row in rows], has_more)


def get_file(session: Session, file_id: str) -> FileObject:
    return show_file(find_file(session, file_id))


def file_content(session: Session, trainer: Trainer, file_id: str) -> tuple[str, Iterator[bytes]]:
    """The file's name, and its bytes as a stream."""
    row = find_file(session, file_id)
    if not trainer.store.exists(row.key):
        raise NotFound(f"The content of '{file_id}' is gone from the store.", code="content_gone")
    return row.filename, trainer.store.iter_bytes(row.key)


def delete_file(session: Session, trainer: Trainer, file_id: str) -> Deleted:
    row = find_file(session, file_id, lock="update")
    if (job_id := storage.unfinished_job_using(session, file_id)) is not None:
        raise Conflict(
            f"Job '{job_id}' still reads this file; cancel it or wait until it has finished.",
            code="file_in_use",
        )
    session.delete(row)
    after_commit(session, lambda: trainer.store.delete(row.key))
    return Deleted(id=file_id, object="file")


def find_file(
    session: Session, file_id: str, *, lock: str | None = None, param: str | None = None
) -> File:
    row = storage.get_file(session, file_id, lock=lock)
    if row is None or (row.expires_at is not None and row.expires_at <= storage.now()):
        raise NotFound(
            f"There is no file '{file_id}'; upload it with POST /v1/files.",
            code="file_not_found",
            param=param,
        )
    return row


def training_data(session: Session, file_id: str, param: str) -> None:
    """Check a job's file, and keep it from being deleted before the job is there to protect it."""
    row = find_file(session, file_id, lock="share", param=param)
    if row.purpose != "fine-tune":
        raise InvalidRequest(
            f"File '{file_id}' was uploaded with purpose '{row.purpose}'; upload it again with "
            "purpose 'fine-tune'.",
            code="invalid_file_purpose",
            param=param,
        )
