"""The rules of uploads: a file that arrives in parts, each kept until the whole is composed."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import BinaryIO

from sqlalchemy.orm import Session

from services.common.errors import Conflict, InvalidRequest, NotFound, TooLarge
from services.common.ids import new_id
from services.common.storage import CHUNK
from services.trainer import storage, upload_storage
from services.trainer.context import Trainer
from services.trainer.files import expiry, plain_name
from services.trainer.models import File, Upload, UploadPart
from services.trainer.schemas import UploadComplete, UploadCreate, UploadObject, UploadPartObject
from services.trainer.views import show_upload, show_upload_part, upload_status

LIFETIME = timedelta(hours=1)
PART_BYTES = 64 * 2**20


def create_upload(session: Session, trainer: Trainer, ask: UploadCreate) -> UploadObject:
    if ask.bytes > trainer.settings.max_file_bytes:
        raise TooLarge(
            f"A file may have at most {trainer.settings.max_file_bytes} bytes.", param="bytes"
        )
    moment = storage.now()
    row = Upload(
        id=new_id("upload"),
        created_at=moment,
        expires_at=moment + LIFETIME,
        filename=plain_name(ask.filename),
        purpose=ask.purpose,
        mime_type=ask.mime_type,
        size=ask.bytes,
        file_expires_after=ask.expires_after.seconds if ask.expires_after else None,
        status="pending",
        file_id=new_id("file"),
    )
    storage.add_all(session, [row])
    return show_upload(row)


def add_part(
    session: Session, trainer: Trainer, upload_id: str, content: BinaryIO
) -> UploadPartObject:
    # Shared: parts may come side by side, but the upload cannot end under them.
    upload = _pending(_upload(session, upload_id, lock="share"))
    part = UploadPart(id=new_id("part"), upload_id=upload.id, created_at=storage.now())
    stored = trainer.store.write(part.key, iter(lambda: content.read(CHUNK), b""))
    part.size = stored.bytes
    try:
        _check_part(session, upload, part)
    except Exception:
        trainer.store.delete(part.key)
        raise
    storage.add_all(session, [part])
    return show_upload_part(part)


def _check_part(session: Session, upload: Upload, part: UploadPart) -> None:
    if part.size == 0:
        raise InvalidRequest("The part is empty.", code="empty_part", param="data")
    if part.size > PART_BYTES:
        raise TooLarge(f"A part may have at most {PART_BYTES} bytes.", param="data")
    # A part may be sent again, but nobody may fill the store by doing only that.
    if upload_storage.bytes_of_parts(session, upload.id) + part.size > 2 * upload.size:
        raise InvalidRequest(
            f"The parts hold more than twice the {upload.size} bytes of the whole.",
            code="too_many_parts",
            param="data",
        )


def complete_upload(
    session: Session, trainer: Trainer, upload_id: str, ask: UploadComplete
) -> UploadObject:
    """Completing twice is one completing: the answer to the first may have got lost."""
    upload = _upload(session, upload_id, lock="update")
    if upload.status == "completed":
        return show_upload(upload, storage.get_file(session, upload.file_id))
    parts = _in_order(session, _pending(upload), ask.part_ids)
    moment = storage.now()
    file = File(
        id=upload.file_id,
        created_at=moment,
        filename=upload.filename,
        purpose=upload.purpose,
        expires_at=expiry(moment, upload.file_expires_after),
    )
    file.size, file.sha256 = _compose(trainer, file, parts, md5=ask.md5)
    storage.add_all(session, [file])
    upload.status = "completed"
    return show_upload(upload, file)


def _in_order(session: Session, upload: Upload, part_ids: Sequence[str]) -> list[UploadPart]:
    there = {part.id: part for part in upload_storage.parts_of(session, upload.id)}
    for part_id in part_ids:
        if part_id not in there:
            raise InvalidRequest(
                f"'{part_id}' is not a part of this upload.",
                code="part_not_found",
                param="part_ids",
            )
    if len(set(part_ids)) < len(part_ids):
        raise InvalidRequest("A part is named twice.", code="invalid_value", param="part_ids")
    parts = [there[part_id] for part_id in part_ids]
    size = sum(part.size for part in parts)
    if size != upload.size:
        raise InvalidRequest(
            f"The parts hold {size} bytes, but the upload was said to have {upload.size}.",
            code="upload_size_mismatch",
            param="part_ids",
        )
    return parts


def _compose(
    trainer: Trainer, file: File, parts: Sequence[UploadPart], *, md5: str | None
) -> tuple[int, str]:
    """Join the parts under the file's key, as a stream; its size and SHA-256."""
    seen = hashlib.md5(usedforsecurity=False)

    def whole() -> Iterator[bytes]:
        for part in parts:
            for block in trainer.store.iter_bytes(part.key):
                seen.update(block)
                yield block

    stored = trainer.store.write(file.key, whole())
    if md5 is not None and seen.hexdigest() != md5.lower():
        trainer.store.delete(file.key)
        raise InvalidRequest(
            f"The whole has the MD5 {seen.hexdigest()}, not {md5}; send the damaged part again.",
            code="md5_mismatch",
            param="md5",
        )
    return stored.bytes, stored.sha256


def cancel_upload(session: Session, upload_id: str) -> UploadObject:
    upload = _upload(session, upload_id, lock="update")
    if upload.status != "cancelled":
        _pending(upload).status = "cancelled"
    return show_upload(upload)


def _upload(session: Session, upload_id: str, *, lock: str) -> Upload:
    row = upload_storage.get_upload(session, upload_id, lock=lock)
    if row is None:
        raise NotFound(
            f"There is no upload '{upload_id}'; create it with POST /v1/uploads.",
            code="upload_not_found",
        )
    return row


def _pending(upload: Upload) -> Upload:
    status = upload_status(upload)
    if status != "pending":
        raise Conflict(
            f"Upload '{upload.id}' is {status} and takes no more; create another.",
            code=f"upload_{status}",
        )
    return upload
