"""Rows as the wire shows them."""

from datetime import datetime

from services.common.contracts.trainer import (
    AdapterFile,
    AdapterRecord,
    ExportRecord,
    FileObject,
    FineTuningJob,
    JobError,
    JobEvent,
    Progress,
)
from services.trainer.models import (
    Adapter,
    Checkpoint,
    Event,
    Export,
    File,
    Job,
    Upload,
    UploadPart,
)
from services.trainer.schemas import (
    CheckpointMetrics,
    FineTuningCheckpoint,
    UploadObject,
    UploadPartObject,
)
from services.trainer.storage import now


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def show_file(row: File) -> FileObject:
    return FileObject(
        id=row.id,
        bytes=row.size,
        created_at=_seconds(row.created_at),
        filename=row.filename,
        purpose=row.purpose,
        status="processed",
        sha256=row.sha256,
        expires_at=row.expires_at and _seconds(row.expires_at),
    )


def upload_status(row: Upload) -> str:
    return "expired" if row.status == "pending" and row.expires_at <= now() else row.status


def show_upload(row: Upload, file: File | None = None) -> UploadObject:
    """``file`` is what a completed upload has become, if it is still there."""
    return UploadObject.model_validate(
        {
            "id": row.id,
            "bytes": row.size,
            "created_at": _seconds(row.created_at),
            "expires_at": _seconds(row.expires_at),
            "filename": row.filename,
            "purpose": row.purpose,
            "status": upload_status(row),
            "file": file and show_file(file),
        }
    )


def show_upload_part(row: UploadPart) -> UploadPartObject:
    return UploadPartObject(id=row.id, created_at=_seconds(row.created_at), upload_id=row.upload_id)


def show_job(row: Job) -> FineTuningJob:
    asked = row.method[row.method["type"]]["hyperparameters"]
    finish = row.estimated_finish
    return FineTuningJob.model_validate(
        {
            "id": row.id,
            "created_at": _seconds(row.created_at),
            "finished_at": row.finished_at and _seconds(row.finished_at),
            "estimated_finish": finish and _seconds(finish),
            "model": row.model,
            "fine_tuned_model": row.fine_tuned_model,
            "status": row.status,
            "training_file": row.training_file,
            "validation_file": row.validation_file,
            "result_files": row.result_files,
            "trained_tokens": row.trained_tokens,
            "hyperparameters": {
                name: asked[name] for name in ("n_epochs", "batch_size", "learning_rate_multiplier")
            },
            "method": row.method,
            "seed": row.seed,
            "error": row.error and JobError.model_validate(row.error),
            "integrations": row.integrations,
            "metadata": row.job_metadata,
            "priority": row.priority,
            "checks": row.checks,
            "progress": Progress(
                step=row.step,
                total_steps=row.total_steps,
                seconds_left=finish and max(0.0, (finish - now()).total_seconds()),
            ),
        }
    )


def event_id(number: int) -> str:
    return f"ftevent_{number:012d}"


def show_event(row: Event) -> JobEvent:
    return JobEvent.model_validate(
        {
            "id": event_id(row.id),
            "created_at": _seconds(row.created_at),
            "level": row.level,
            "type": row.type,
            "message": row.message,
            "data": row.data,
        }
    )


def show_checkpoint(row: Checkpoint) -> FineTuningCheckpoint:
    return FineTuningCheckpoint(
        id=row.id,
        created_at=_seconds(row.created_at),
        fine_tuned_model_checkpoint=row.fine_tuned_model,
        fine_tuning_job_id=row.job_id,
        step_number=row.step,
        metrics=CheckpointMetrics.model_validate(
            {
                "step": row.step,
                "full_valid_loss": row.metrics.get("valid_loss"),
                "full_valid_mean_token_accuracy": row.metrics.get("valid_mean_token_accuracy"),
                **row.metrics,
            }
        ),
    )


def show_export(row: Export) -> ExportRecord:
    return ExportRecord.model_validate(
        {
            "id": row.id,
            "created_at": _seconds(row.created_at),
            "finished_at": row.finished_at and _seconds(row.finished_at),
            "adapter": row.adapter_id,
            "destination": row.destination,
            "merge": row.merge,
            "status": row.status,
            "url": row.url,
            "error": row.error,
        }
    )


def show_adapter(row: Adapter) -> AdapterRecord:
    return AdapterRecord(
        id=row.id,
        created_at=_seconds(row.created_at),
        base_model=row.base_model,
        recipe=row.recipe,
        job_id=row.job_id,
        step=row.step,
        candidate=row.candidate,
        sha256=row.sha256,
        dataset_sha256=row.dataset_sha256,
        rank=row.rank,
        target_modules=row.target_modules,
        url=row.url,
        files=[AdapterFile.model_validate(file) for file in row.files],
        metrics=row.metrics,
    )
