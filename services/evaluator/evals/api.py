"""OpenAI's Evals API over HTTP."""

from typing import Literal

from fastapi import APIRouter
from starlette.responses import HTMLResponse

from services.common.app import SessionDep
from services.common.contracts.base import Page
from services.evaluator.api import SEALED
from services.evaluator.deps import DatabaseDep, TasksDep
from services.evaluator.evals import comparing, rendering, service
from services.evaluator.evals.deps import (
    CheckedEvalDep,
    CheckedRunDep,
    EvalCursorDep,
    EvalId,
    OutputItemId,
    RunId,
    WebhooksDep,
)
from services.evaluator.evals.schemas import (
    CompareCreate,
    Eval,
    EvalComparison,
    EvalDeleted,
    EvalUpdate,
    OutputItem,
    Run,
    RunDeleted,
    RunStatus,
)

router = APIRouter(prefix="/v1/evals", tags=["evals"])


@router.post("", status_code=201)
def create_eval(checked: CheckedEvalDep, session: SessionDep) -> Eval:
    return service.create(session, checked)


@router.get("")
def list_evals(
    session: SessionDep,
    cursor: EvalCursorDep,
    order_by: Literal["created_at", "updated_at"] = "created_at",
) -> Page[Eval]:
    return service.page(session, cursor, order_by)


@router.get("/{eval_id}")
def get_eval(eval_id: EvalId, session: SessionDep) -> Eval:
    return service.get(session, eval_id)


@router.post("/{eval_id}")
def update_eval(eval_id: EvalId, ask: EvalUpdate, session: SessionDep) -> Eval:
    return service.change(session, eval_id, ask)


@router.delete("/{eval_id}")
def delete_eval(eval_id: EvalId, session: SessionDep) -> EvalDeleted:
    return service.delete(session, eval_id)


@router.post("/{eval_id}/compare")
def compare_runs(eval_id: EvalId, ask: CompareCreate, db: DatabaseDep) -> EvalComparison:
    """Ours: pair two runs item by item, and say what may be believed of their difference."""
    return comparing.compare(db, eval_id, ask)


@router.post("/{eval_id}/runs", status_code=201)
def create_run(
    eval_id: EvalId, checked: CheckedRunDep, session: SessionDep, tasks: TasksDep
) -> Run:
    """Returns at once; ``status`` and ``result_counts`` say how far it is."""
    return service.create_run(session, tasks, eval_id, checked)


@router.get("/{eval_id}/runs")
def list_runs(
    eval_id: EvalId, session: SessionDep, cursor: EvalCursorDep, status: RunStatus | None = None
) -> Page[Run]:
    return service.runs_page(session, eval_id, cursor, status)


@router.get("/{eval_id}/runs/{run_id}")
def get_run(eval_id: EvalId, run_id: RunId, session: SessionDep) -> Run:
    return service.get_run(session, eval_id, run_id)


@router.post("/{eval_id}/runs/{run_id}")  # OpenAI's client 1.99.9 cancels here
@router.post("/{eval_id}/runs/{run_id}/cancel")
def cancel_run(eval_id: EvalId, run_id: RunId, session: SessionDep, webhooks: WebhooksDep) -> Run:
    return service.cancel_run(session, eval_id, run_id, webhooks)


@router.delete("/{eval_id}/runs/{run_id}")
def delete_run(eval_id: EvalId, run_id: RunId, session: SessionDep) -> RunDeleted:
    return service.delete_run(session, eval_id, run_id)


@router.get("/{eval_id}/runs/{run_id}/report")
def get_run_report(eval_id: EvalId, run_id: RunId, session: SessionDep) -> HTMLResponse:
    """Where ``report_url`` leads: the counts, and the items that did not pass."""
    return HTMLResponse(rendering.render_run(session, eval_id, run_id), headers=SEALED)


@router.get("/{eval_id}/runs/{run_id}/output_items")
def list_output_items(
    eval_id: EvalId,
    run_id: RunId,
    session: SessionDep,
    cursor: EvalCursorDep,
    status: Literal["pass", "fail", "error"] | None = None,
) -> Page[OutputItem]:
    return service.items_page(session, eval_id, run_id, cursor, status)


@router.get("/{eval_id}/runs/{run_id}/output_items/{output_item_id}")
def get_output_item(
    eval_id: EvalId, run_id: RunId, output_item_id: OutputItemId, session: SessionDep
) -> OutputItem:
    return service.get_item(session, eval_id, run_id, output_item_id)
