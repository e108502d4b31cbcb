"""How a run ends: its status, and the webhooks that tell of it, in one transaction."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy.orm import Session

from services.common.webhooks import announced
from services.evaluator.evals import storage
from services.evaluator.evals.models import EventRow
from services.evaluator.models import Json
from services.evaluator.settings import WebhookEndpoint

_EVENTS = {
    "completed": "eval.run.succeeded",
    "failed": "eval.run.failed",
    "canceled": "eval.run.canceled",
}


def end(
    session: Session,
    run_id: str,
    status: Literal["completed", "failed", "canceled"],
    webhooks: Sequence[WebhookEndpoint],
    *,
    error: Json | None = None,
) -> bool:
    """End an active run; False when it is not active. The one place that does, so that no ending
    goes untold."""
    if not storage.end(session, run_id, status, error):
        return False
    storage.add_events(
        session,
        [EventRow(run_id=run_id, **values) for values in announced(_EVENTS[status], webhooks)],
    )
    return True
