"""How a job ends: its status, and the webhooks that tell of it, in one transaction."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy.orm import Session

from services.common.webhooks import announced
from services.trainer import storage
from services.trainer.models import Delivery, Job
from services.trainer.settings import WebhookEndpoint


def finish(
    session: Session,
    job: Job,
    status: Literal["succeeded", "failed", "cancelled"],
    webhooks: Sequence[WebhookEndpoint],
) -> None:
    """End ``job``, which is locked. The one place that does, so that no ending goes untold."""
    moment = storage.now()
    job.status, job.finished_at, job.estimated_finish = status, moment, None
    event = f"fine_tuning.job.{status}"
    rows = [Delivery(job_id=job.id, **values) for values in announced(event, webhooks)]
    storage.add_all(session, rows)
