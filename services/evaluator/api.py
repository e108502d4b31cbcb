"""Experiments over HTTP."""

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response, StreamingResponse

from services.common.app import SessionDep
from services.common.contracts.base import Deleted, Page
from services.common.contracts.evaluator import Experiment, Report
from services.common.pagination import CursorDep
from services.evaluator import service
from services.evaluator.deps import (
    ArtifactsDep,
    CheckedDep,
    DatabaseDep,
    ExperimentId,
    RowQueryDep,
    TasksDep,
)

router = APIRouter(prefix="/v1/experiments", tags=["experiments"])

# The report shows text of models and data sets: nothing in it may run or call out.
_SEALED = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
}


@router.post("", status_code=201)
def create_experiment(checked: CheckedDep, session: SessionDep, tasks: TasksDep) -> Experiment:
    """Measure arms × conditions over the items of a file; returns at once, watch ``progress``."""
    return service.create(session, tasks, checked)


@router.get("")
def list_experiments(session: SessionDep, cursor: CursorDep) -> Page[Experiment]:
    return service.page(session, cursor)


@router.get("/{experiment_id}")
def get_experiment(experiment_id: ExperimentId, session: SessionDep) -> Experiment:
    return service.get(session, experiment_id)


@router.post("/{experiment_id}/cancel")
def cancel_experiment(experiment_id: ExperimentId, session: SessionDep) -> Experiment:
    return service.cancel(session, experiment_id)


@router.delete("/{experiment_id}")
def delete_experiment(
    experiment_id: ExperimentId, session: SessionDep, artifacts: ArtifactsDep
) -> Deleted:
    return service.delete(session, artifacts, experiment_id)


@router.get("/{experiment_id}/report")
def get_report(experiment_id: ExperimentId, session: SessionDep) -> Report:
    """409 ``report_not_ready`` until the experiment has completed."""
    return service.report(session, experiment_id)


@router.get("/{experiment_id}/report.md")
def get_report_markdown(
    experiment_id: ExperimentId, session: SessionDep, artifacts: ArtifactsDep
) -> Response:
    content = service.rendered(session, artifacts, experiment_id, "report.md")
    return Response(content, media_type="text/markdown; charset=utf-8")


@router.get("/{experiment_id}/report.html")
def get_report_html(
    experiment_id: ExperimentId, session: SessionDep, artifacts: ArtifactsDep
) -> HTMLResponse:
    content = service.rendered(session, artifacts, experiment_id, "report.html")
    return HTMLResponse(content, headers=_SEALED)


@router.get("/{experiment_id}/figures/forest.svg")
def get_forest(
    experiment_id: ExperimentId, session: SessionDep, artifacts: ArtifactsDep
) -> Response:
    """Differences of the declared family with their intervals."""
    content = service.rendered(session, artifacts, experiment_id, "forest.svg")
    return Response(content, media_type="image/svg+xml", headers=_SEALED)


@router.get("/{experiment_id}/rows")
async def get_rows(query: RowQueryDep, db: DatabaseDep) -> StreamingResponse:
    """Every answer so far with its scores, one JSON object a line."""
    return StreamingResponse(service.row_lines(db, query), media_type="application/x-ndjson")
