"""The rules of evals: what may be done to one, and what is shown of it."""

from collections.abc import Sequence
from typing import Literal

from sqlalchemy.orm import Session

from services.common.contracts.base import Page
from services.common.db import Database
from services.common.errors import Conflict, NotFound
from services.common.ids import new_id
from services.common.pagination import Cursor, to_page
from services.common.tasks import TaskQueue
from services.evaluator.evals import storage
from services.evaluator.evals.checking import CheckedRun, check_run
from services.evaluator.evals.endings import end
from services.evaluator.evals.models import EvalRow, OutputItemRow, RunRow, now
from services.evaluator.evals.running import CONFIG, CRITERIA
from services.evaluator.evals.schemas import (
    ApiError,
    Eval,
    EvalCreate,
    EvalDeleted,
    EvalUpdate,
    Json,
    JsonlSource,
    OutputItem,
    Run,
    RunCreate,
    RunDeleted,
)
from services.evaluator.evals.tally import Tally
from services.evaluator.peers import Peers
from services.evaluator.settings import WebhookEndpoint

RUN = "evaluator.eval_run"
_SAMPLE_SCHEMA: Json = {
    "type": "object",
    "properties": {
        "output_text": {"type": "string"},
        "output_json": {},
        "output_tools": {"type": "array", "items": {"type": "object"}},
        "model": {"type": "string"},
    },
    "required": ["output_text"],
}


def create(session: Session, ask: EvalCreate) -> Eval:
    eval_id = new_id("eval")
    moment = now()
    row = EvalRow(
        id=eval_id,
        created_at=moment,
        updated_at=moment,
        name=ask.name or eval_id,
        details=ask.metadata,
        config=ask.data_source_config.model_dump(mode="json", exclude_unset=True),
        criteria=[
            each.model_dump(mode="json", exclude_unset=True) for each in ask.testing_criteria
        ],
    )
    storage.add(session, row)
    return eval_to_wire(row)


def get(session: Session, eval_id: str) -> Eval:
    return eval_to_wire(_eval(session, eval_id))


def page(
    session: Session, cursor: Cursor, order_by: Literal["created_at", "updated_at"]
) -> Page[Eval]:
    rows, more = storage.evals_page(session, cursor, order_by)
    return to_page([eval_to_wire(row) for row in rows], more)


def change(session: Session, eval_id: str, ask: EvalUpdate) -> Eval:
    row = _eval(session, eval_id)
    if ask.name is not None:
        row.name = ask.name
    if "metadata" in ask.model_fields_set:
        row.details = ask.metadata
    row.updated_at = now()
    session.flush()
    return eval_to_wire(row)


def delete(session: Session, eval_id: str) -> EvalDeleted:
    """Remove it with its runs, which must have ended."""
    row = _eval(session, eval_id, hold="alone")
    if storage.has_active_runs(session, eval_id):
        raise Conflict(
            f"Eval '{eval_id}' has runs under way; cancel them first.", code="eval_active"
        )
    storage.delete(session, row)
    return EvalDeleted(eval_id=eval_id)


async def checked_run(db: Database, peers: Peers, eval_id: str, ask: RunCreate) -> CheckedRun:
    """Peers are asked between two short transactions."""
    of = await db.transact(lambda session: _eval(session, eval_id))
    criteria = CRITERIA.validate_python(of.criteria)
    return await check_run(ask, CONFIG.validate_python(of.config), criteria, peers)


def create_run(session: Session, tasks: TaskQueue, eval_id: str, checked: CheckedRun) -> Run:
    _eval(session, eval_id, hold="share")
    source = checked.ask.data_source
    kept = source.model_dump(mode="json", exclude_unset=True, exclude={"source": {"content"}})
    if checked.items is not None:
        kept["source"]["content"] = []
    run_id = new_id("evalrun")
    row = RunRow(
        id=run_id,
        eval_id=eval_id,
        name=checked.ask.name or run_id,
        model="" if isinstance(source, JsonlSource) else source.model,
        details=checked.ask.metadata,
        data_source=kept,
        items=None if checked.items is None else len(checked.items),
    )
    storage.add(session, row)
    if checked.items is not None:
        storage.add_items(session, run_id, checked.items)
    tasks.enqueue(session, RUN, run_id)
    return get_run(session, eval_id, run_id)


def get_run(session: Session, eval_id: str, run_id: str, *, content: bool = True) -> Run:
    """With the ``content`` of an inline source, as it was sent."""
    row = _run(session, eval_id, run_id)
    shown = run_to_wire(row, _names(_eval(session, eval_id)))
    if content and shown.data_source["source"]["type"] == "file_content":
        shown.data_source["source"]["content"] = storage.content_of(session, run_id)
    return shown


def runs_page(session: Session, eval_id: str, cursor: Cursor, status: str | None) -> Page[Run]:
    names = _names(_eval(session, eval_id))
    rows, more = storage.runs_page(session, eval_id, cursor, status)
    return to_page([run_to_wire(row, names) for row in rows], more)


def cancel_run(
    session: Session, eval_id: str, run_id: str, webhooks: Sequence[WebhookEndpoint]
) -> Run:
    """Stop it; its worker notices within seconds. Cancelling twice is no mistake."""
    row = _run(session, eval_id, run_id)
    if not end(session, run_id, "canceled", webhooks):
        session.refresh(row)
        if row.status != "canceled":
            raise Conflict(f"Run '{run_id}' has {row.status} already.", code="run_finished")
    return get_run(session, eval_id, run_id)


def delete_run(session: Session, eval_id: str, run_id: str) -> RunDeleted:
    row = _run(session, eval_id, run_id)
    if row.status in storage.ACTIVE:
        raise Conflict(f"Run '{run_id}' is {row.status}; cancel it first.", code="run_active")
    storage.delete(session, row)
    return RunDeleted(run_id=run_id)


def items_page(
    session: Session, eval_id: str, run_id: str, cursor: Cursor, status: str | None
) -> Page[OutputItem]:
    _run(session, eval_id, run_id)
    rows, more = storage.items_page(session, run_id, cursor, status)
    return to_page([item_to_wire(row, eval_id) for row in rows], more)


def get_item(session: Session, eval_id: str, run_id: str, output_item_id: str) -> OutputItem:
    _run(session, eval_id, run_id)
    row = storage.find_item(session, run_id, output_item_id)
    if row is None:
        raise NotFound(
            f"There is no output item '{output_item_id}' of run '{run_id}'.",
            code="output_item_not_found",
        )
    return item_to_wire(row, eval_id)


def eval_to_wire(row: EvalRow) -> Eval:
    return Eval(
        id=row.id,
        created_at=int(row.created_at.timestamp()),
        updated_at=int(row.updated_at.timestamp()),
        name=row.name,
        metadata=row.details,
        data_source_config=_shown_config(row.config),
        testing_criteria=row.criteria,
    )


def _shown_config(config: Json) -> Json:
    """OpenAI answers with the schema of what templates may name, in place of ``item_schema``."""
    custom = config["type"] == "custom"
    namespaces: Json = {"item": config["item_schema"] if custom else {"type": "object"}}
    if not custom or config.get("include_sample_schema"):
        namespaces["sample"] = _SAMPLE_SCHEMA
    schema = {"type": "object", "properties": namespaces, "required": list(namespaces)}
    return ({"type": "custom"} if custom else config) | {"schema": schema}


def run_to_wire(row: RunRow, criteria: list[str]) -> Run:
    tally = Tally.load(row.tally, criteria)
    return Run.model_validate(
        {
            "id": row.id,
            "eval_id": row.eval_id,
            "created_at": int(row.created_at.timestamp()),
            "finished_at": int(row.finished_at.timestamp()) if row.finished_at else None,
            "name": row.name,
            "model": row.model,
            "status": row.status,
            "data_source": row.data_source,
            "metadata": row.details,
            "report_url": f"/v1/evals/{row.eval_id}/runs/{row.id}/report",
            "error": ApiError.model_validate(row.error) if row.error else None,
            "result_counts": tally.counts,
            "per_testing_criteria_results": list(tally.criteria.values()),
            "per_model_usage": list(tally.usage.values()),
            "items": row.items,
        }
    )


def item_to_wire(row: OutputItemRow, eval_id: str) -> OutputItem:
    return OutputItem.model_validate(
        {
            "id": row.id,
            "created_at": int(row.created_at.timestamp()),
            "run_id": row.run_id,
            "eval_id": eval_id,
            "status": row.status,
            "datasource_item_id": row.ordinal,
            "datasource_item": row.item,
            "results": row.results,
            "sample": row.sample,
        }
    )


def _names(row: EvalRow) -> list[str]:
    return [criterion["name"] for criterion in row.criteria]


def _eval(
    session: Session, eval_id: str, *, hold: Literal["share", "alone"] | None = None
) -> EvalRow:
    row = storage.find_eval(session, eval_id, hold=hold)
    if row is None:
        raise NotFound(f"There is no eval '{eval_id}'.", code="eval_not_found")
    return row


def _run(session: Session, eval_id: str, run_id: str) -> RunRow:
    row = storage.find_run(session, eval_id, run_id)
    if row is None:
        raise NotFound(f"There is no run '{run_id}' of eval '{eval_id}'.", code="run_not_found")
    return row
