"""Routes of files, fine-tuning jobs and adapters."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query
from starlette.responses import StreamingResponse

from services.common.app import SessionDep
from services.common.contracts.base import Deleted, Page
from services.common.contracts.trainer import (
    AdapterRecord,
    FileObject,
    FineTuningJob,
    FineTuningJobCreate,
    JobEvent,
)
from services.common.pagination import CursorDep
from services.trainer import service
from services.trainer.deps import MetadataDep, TrainerDep, UploadDep
from services.trainer.schemas import UPLOAD_PURPOSES, FineTuningCheckpoint

files = APIRouter(prefix="/v1/files", tags=["files"])
fine_tuning = APIRouter(prefix="/v1/fine_tuning", tags=["fine-tuning"])

UPLOAD_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"type": "string", "enum": list(UPLOAD_PURPOSES)},
                    },
                }
            }
        },
    }
}


@files.post("", openapi_extra=UPLOAD_FORM)
def create_file(session: SessionDep, trainer: TrainerDep, upload: UploadDep) -> FileObject:
    return service.create_file(session, trainer, upload)


@files.get("")
def list_files(
    session: SessionDep,
    cursor: CursorDep,
    purpose: Annotated[str | None, Query(max_length=40)] = None,
) -> Page[FileObject]:
    return service.list_files(session, cursor, purpose)


@files.get("/{file_id}")
def get_file(session: SessionDep, file_id: str) -> FileObject:
    return service.get_file(session, file_id)


@files.delete("/{file_id}")
def delete_file(session: SessionDep, trainer: TrainerDep, file_id: str) -> Deleted:
    return service.delete_file(session, trainer, file_id)


@files.get("/{file_id}/content", response_class=StreamingResponse)
def get_file_content(session: SessionDep, trainer: TrainerDep, file_id: str) -> StreamingResponse:
    filename, content = service.file_content(session, trainer, file_id)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(content, media_type="application/octet-stream", headers=headers)


@fine_tuning.post("/jobs")
def create_job(session: SessionDep, trainer: TrainerDep, ask: FineTuningJobCreate) -> FineTuningJob:
    return service.create_job(session, trainer, ask)


@fine_tuning.get("/jobs")
def list_jobs(session: SessionDep, cursor: CursorDep, metadata: MetadataDep) -> Page[FineTuningJob]:
    return service.list_jobs(session, cursor, metadata)


@fine_tuning.get("/jobs/{job_id}")
def get_job(session: SessionDep, job_id: str) -> FineTuningJob:
    return service.get_job(session, job_id)


@fine_tuning.post("/jobs/{job_id}/cancel")
def cancel_job(session: SessionDep, job_id: str) -> FineTuningJob:
    return service.cancel_job(session, job_id)


@fine_tuning.get("/jobs/{job_id}/events")
def list_events(session: SessionDep, cursor: CursorDep, job_id: str) -> Page[JobEvent]:
    return service.list_events(session, job_id, cursor)


@fine_tuning.get("/jobs/{job_id}/checkpoints")
def list_checkpoints(
    session: SessionDep, cursor: CursorDep, job_id: str
) -> Page[FineTuningCheckpoint]:
    return service.list_checkpoints(session, job_id, cursor)


@fine_tuning.get("/adapters")
def list_adapters(session: SessionDep, cursor: CursorDep) -> Page[AdapterRecord]:
    return service.list_adapters(session, cursor)


@fine_tuning.get("/adapters/{name:path}")
def get_adapter(session: SessionDep, name: str) -> AdapterRecord:
    return service.get_adapter(session, name)
