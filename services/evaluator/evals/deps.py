"""What the routes of evals are given."""

from typing import Annotated, Literal

from fastapi import Depends, Path, Query, Request

from services.common.pagination import Cursor
from services.evaluator.deps import DatabaseDep, PeersDep
from services.evaluator.evals import service
from services.evaluator.evals.checking import CheckedRun, check_eval
from services.evaluator.evals.schemas import EvalCreate, RunCreate
from services.evaluator.settings import EvaluatorSettings, WebhookEndpoint

EvalId = Annotated[str, Path(max_length=200)]
RunId = Annotated[str, Path(max_length=200)]
OutputItemId = Annotated[str, Path(max_length=200)]


def get_cursor(
    after: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Literal["asc", "desc"] = "asc",
) -> Cursor:
    """Evals are listed oldest first, as OpenAI does."""
    return Cursor(after=after, limit=limit, order=order)


async def get_checked_eval(request: Request, ask: EvalCreate, peers: PeersDep) -> EvalCreate:
    """Peers are asked before the transaction begins, so that it stays short."""
    return await check_eval(ask, peers, request.app.state.settings)


async def get_checked_run(
    eval_id: EvalId, ask: RunCreate, peers: PeersDep, db: DatabaseDep
) -> CheckedRun:
    return await service.checked_run(db, peers, eval_id, ask)


def get_webhooks(request: Request) -> tuple[WebhookEndpoint, ...]:
    settings: EvaluatorSettings = request.app.state.settings
    return settings.webhooks


WebhooksDep = Annotated[tuple[WebhookEndpoint, ...], Depends(get_webhooks)]
EvalCursorDep = Annotated[Cursor, Depends(get_cursor)]
CheckedEvalDep = Annotated[EvalCreate, Depends(get_checked_eval)]
CheckedRunDep = Annotated[CheckedRun, Depends(get_checked_run)]
