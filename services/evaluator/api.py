"""Experiments over HTTP."""

from typing import Any

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response, StreamingResponse

from services.common.app import CallerDep, SessionDep
from services.common.contracts.base import Deleted, Page
from services.common.contracts.budget import Estimate, ResumeAsk
from services.common.contracts.evaluator import Experiment, Report
from services.common.contracts.flips import Flip
from services.common.contracts.gate import Gate, GateCreate
from services.common.pagination import CursorDep
from services.common.watching import EventStream
from services.evaluator import rows, service
from services.evaluator.deps import (
    ArtifactsDep,
    CheckedDep,
    DatabaseDep,
    ExperimentId,
    FlipQueryDep,
    GateFloorDep,
    GateId,
    LastEventDep,
    RowQueryDep,
    SizedDep,
    TasksDep,
    WatchersDep,
)
from services.evaluator.yaml_bodies import YamlRoute

router = APIRouter(prefix="/v1/experiments", tags=["experiments"], route_class=YamlRoute)

EVENT_STREAM: dict[int | str, dict[str, Any]] = {200: {"content": {"text/event-stream": {}}}}
# The report shows text of models and data sets: nothing in it may run or call out.
SEALED = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
}


@router.post("", status_code=201)
def create_experiment(checked: CheckedDep, session: SessionDep, tasks: TasksDep) -> Experiment:
    """Measure arms × conditions over the items of a file; returns at once, watch ``progress``."""
    return service.create(session, tasks, checked)


@router.post("/estimate")
def estimate_experiment(sized: SizedDep, session: SessionDep) -> Estimate:
    """Tokens, minutes, cost and the smallest effect detectable, before anything is spent."""
    return service.estimate(session, *sized)


@router.get("")
def list_experiments(session: SessionDep, cursor: CursorDep) -> Page[Experiment]:
    return service.page(session, cursor)


@router.get("/schema")
def get_schema() -> dict[str, Any]:
    """The JSON schema of a specification, for editors and checks before it is sent."""
    return service.schema()


@router.get("/{experiment_id}")
def get_experiment(experiment_id: ExperimentId, session: SessionDep) -> Experiment:
    return service.get(session, experiment_id)


@router.post("/{experiment_id}/cancel")
def cancel_experiment(
    experiment_id: ExperimentId, session: SessionDep, tasks: TasksDep
) -> Experiment:
    return service.cancel(session, tasks, experiment_id)


@router.post("/{experiment_id}/resume")
def resume_experiment(
    experiment_id: ExperimentId,
    session: SessionDep,
    tasks: TasksDep,
    ask: ResumeAsk | None = None,
) -> Experiment:
    """Go on with a failed or cancelled experiment where it was left, as with a larger budget."""
    return service.resume(session, tasks, experiment_id, ask or ResumeAsk())


@router.get(
    "/{experiment_id}/events", response_class=EventStream, responses=EVENT_STREAM, status_code=200
)
def watch_experiment(
    experiment_id: ExperimentId, session: SessionDep, watchers: WatchersDep, after: LastEventDep
) -> EventStream:
    """Phases, progress, warnings and the end as server-sent events; goes on after
    ``Last-Event-ID``."""
    return EventStream(watchers, service.watch(session, watchers, experiment_id, after))


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
    return HTMLResponse(content, headers=SEALED)


@router.get("/{experiment_id}/figures/forest.svg")
def get_forest(
    experiment_id: ExperimentId, session: SessionDep, artifacts: ArtifactsDep
) -> Response:
    """Differences of the declared family with their intervals."""
    content = service.rendered(session, artifacts, experiment_id, "forest.svg")
    return Response(content, media_type="image/svg+xml", headers=SEALED)


@router.get("/{experiment_id}/figures/sizes.svg")
def get_sizes(
    experiment_id: ExperimentId, session: SessionDep, artifacts: ArtifactsDep
) -> Response:
    """Means by number of training pairs, where arms differ in nothing else; 404 otherwise."""
    content = service.rendered(session, artifacts, experiment_id, "sizes.svg")
    return Response(content, media_type="image/svg+xml", headers=SEALED)


@router.post("/{experiment_id}/gate", status_code=201)
def create_gate(
    experiment_id: ExperimentId,
    ask: GateCreate,
    session: SessionDep,
    caller: CallerDep,
    floor: GateFloorDep,
) -> Gate:
    """Turn the verdicts into yes or no, and keep it; 409 ``report_not_ready`` until then."""
    return service.decide_gate(session, experiment_id, ask, caller, floor)


@router.get("/{experiment_id}/gates")
def list_gates(experiment_id: ExperimentId, session: SessionDep, cursor: CursorDep) -> Page[Gate]:
    return service.gates_page(session, experiment_id, cursor)


@router.get("/{experiment_id}/gates/{gate_id}")
def get_gate(experiment_id: ExperimentId, gate_id: GateId, session: SessionDep) -> Gate:
    return service.get_gate(session, experiment_id, gate_id)


@router.get("/{experiment_id}/flips")
def list_flips(experiment_id: ExperimentId, query: FlipQueryDep, session: SessionDep) -> Page[Flip]:
    """Items on which an arm scores otherwise than its baseline, the largest change first, with both
    answers and the passages they were given."""
    return service.flips_page(session, experiment_id, query)


@router.get("/{experiment_id}/rows")
async def get_rows(query: RowQueryDep, db: DatabaseDep) -> StreamingResponse:
    """Every answer so far with its scores, one JSON object a line."""
    return StreamingResponse(rows.row_lines(db, query), media_type="application/x-ndjson")
