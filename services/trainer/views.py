"""Rows as the wire shows them."""

from datetime import datetime

from services.common.contracts.trainer import (
    AdapterFile,
    AdapterRecord,
    FileObject,
    FineTuningJob,
    JobError,
    JobEvent,
    Progress,
)
from services.trainer.models import Adapter, Checkpoint, Event, File, Job
from services.trainer.schemas import CheckpointMetrics, FineTuningCheckpoint
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
    )


def show_job(row: Job) -> FineTuningJob:
    supervised = row.method["supervised"]["hyperparameters"]
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
                name: supervised[name]
                for name in ("n_epochs", "batch_size", "learning_rate_multiplier")
            },
            "method": row.method,
            "seed": row.seed,
            "error": row.error and JobError.model_validate(row.error),
            "metadata": row.job_metadata,
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
        metrics=CheckpointMetrics.model_validate({"step": row.step, **row.metrics}),
    )


def show_adapter(row: Adapter) -> AdapterRecord:
    return AdapterRecord(
        id=row.id,
        created_at=_seconds(row.created_at),
        base_model=row.base_model,
        recipe=row.recipe,
        job_id=row.job_id,
        step=row.step,
        sha256=row.sha256,
        dataset_sha256=row.dataset_sha256,
        rank=row.rank,
        target_modules=row.target_modules,
        url=row.url,
        files=[AdapterFile.model_validate(file) for file in row.files],
        metrics=row.metrics,
    )
