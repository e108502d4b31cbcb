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
from services.common.watching import EventStream
from services.trainer import estimation, service
from services.trainer import files as file_rules
from services.trainer import uploads as upload_rules
from services.trainer.deps import (
    EventStartDep,
    IncomingFileDep,
    MetadataDep,
    OriginDep,
    PartDep,
    TrainerDep,
    WantsStreamDep,
)
from services.trainer.schemas import (
    UPLOAD_PURPOSES,
    Estimate,
    ExpiresAfter,
    FineTuningCheckpoint,
    UploadComplete,
    UploadCreate,
    UploadObject,
    UploadPartObject,
)

files = APIRouter(prefix="/v1/files", tags=["files"])
uploads = APIRouter(prefix="/v1/uploads", tags=["uploads"])
fine_tuning = APIRouter(prefix="/v1/fine_tuning", tags=["fine-tuning"])


def _form(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI is to say of a multipart body that ``forms`` parses."""
    schema = {"type": "object", "required": required, "properties": properties}
    content = {"multipart/form-data": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


_BINARY = {"type": "string", "format": "binary"}
FILE_FORM = _form(
    ["file", "purpose"],
    file=_BINARY,
    purpose={"type": "string", "enum": list(UPLOAD_PURPOSES)},
    expires_after=ExpiresAfter.model_json_schema(),
)
EVENT_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
PART_FORM = _form(["data"], data=_BINARY)


@files.post("", openapi_extra=FILE_FORM)
def create_file(session: SessionDep, trainer: TrainerDep, incoming: IncomingFileDep) -> FileObject:
    return file_rules.create_file(session, trainer, incoming)


@files.get("")
def list_files(
    session: SessionDep,
    cursor: CursorDep,
    purpose: Annotated[str | None, Query(max_length=40)] = None,
) -> Page[FileObject]:
    return file_rules.list_files(session, cursor, purpose)


@files.get("/{file_id}")
def get_file(session: SessionDep, file_id: str) -> FileObject:
    return file_rules.get_file(session, file_id)


@files.delete("/{file_id}")
def delete_file(session: SessionDep, trainer: TrainerDep, file_id: str) -> Deleted:
    return file_rules.delete_file(session, trainer, file_id)


@files.get("/{file_id}/content", response_class=StreamingResponse)
def get_file_content(session: SessionDep, trainer: TrainerDep, file_id: str) -> StreamingResponse:
    filename, content = file_rules.file_content(session, trainer, file_id)
    headers = {
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename, safe='')}",
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(content, media_type="application/octet-stream", headers=headers)


@uploads.post("")
def create_upload(session: SessionDep, trainer: TrainerDep, ask: UploadCreate) -> UploadObject:
    return upload_rules.create_upload(session, trainer, ask)


@uploads.post("/{upload_id}/parts", openapi_extra=PART_FORM)
def add_part(
    session: SessionDep, trainer: TrainerDep, part: PartDep, upload_id: str
) -> UploadPartObject:
    return upload_rules.add_part(session, trainer, upload_id, part)


@uploads.post("/{upload_id}/complete")
def complete_upload(
    session: SessionDep, trainer: TrainerDep, upload_id: str, ask: UploadComplete
) -> UploadObject:
    return upload_rules.complete_upload(session, trainer, upload_id, ask)


@uploads.post("/{upload_id}/cancel")
def cancel_upload(session: SessionDep, upload_id: str) -> UploadObject:
    return upload_rules.cancel_upload(session, upload_id)


@fine_tuning.post("/jobs")
def create_job(
    session: SessionDep, trainer: TrainerDep, origin: OriginDep, ask: FineTuningJobCreate
) -> FineTuningJob:
    return service.create_job(session, trainer, ask, origin)


@fine_tuning.post("/estimate")
def estimate_job(session: SessionDep, trainer: TrainerDep, ask: FineTuningJobCreate) -> Estimate:
    return estimation.estimate(session, trainer, ask)


@fine_tuning.get("/jobs")
def list_jobs(session: SessionDep, cursor: CursorDep, metadata: MetadataDep) -> Page[FineTuningJob]:
    return service.list_jobs(session, cursor, metadata)


@fine_tuning.get("/jobs/{job_id}")
def get_job(session: SessionDep, job_id: str) -> FineTuningJob:
    return service.get_job(session, job_id)


@fine_tuning.post("/jobs/{job_id}/cancel")
def cancel_job(session: SessionDep, trainer: TrainerDep, job_id: str) -> FineTuningJob:
    return service.cancel_job(session, trainer, job_id)


@fine_tuning.post("/jobs/{job_id}/pause")
def pause_job(session: SessionDep, job_id: str) -> FineTuningJob:
    return service.pause_job(session, job_id)


@fine_tuning.post("/jobs/{job_id}/resume")
def resume_job(session: SessionDep, trainer: TrainerDep, job_id: str) -> FineTuningJob:
    return service.resume_job(session, trainer, job_id)


@fine_tuning.get("/jobs/{job_id}/events", response_model=Page[JobEvent], responses=EVENT_STREAM)
def list_events(
    session: SessionDep,
    trainer: TrainerDep,
    cursor: CursorDep,
    start: EventStartDep,
    wants_stream: WantsStreamDep,
    job_id: str,
) -> Page[JobEvent] | EventStream:
    if wants_stream:
        events = service.watch_events(session, trainer, job_id, start)
        return EventStream(trainer.watchers, events)
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
