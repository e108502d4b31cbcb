"""The dashboard's pages over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from services.common.contracts.evaluator import AnswerRow, Experiment, Report
from services.common.contracts.generator import Condition
from services.common.db import Database
from services.common.errors import NotFound
from services.common.pagination import Cursor
from services.evaluator import service
from services.evaluator.dashboard.answers import Outcome, RowsAsk, rows_view
from services.evaluator.dashboard.pages import Pages, get_pages
from services.evaluator.dashboard.peers import (
    Health,
    asked_once,
    health,
    hear,
    listed,
    needed,
    reasons,
)
from services.evaluator.dashboard.proofs import adapter_view, adapter_views
from services.evaluator.dashboard.training import all_events, job_view, loss_view
from services.evaluator.dashboard.verdicts import experiment_view
from services.evaluator.deps import DatabaseDep, get_peers
from services.evaluator.peers import Peers
from services.evaluator.rows import row_lines
from services.evaluator.schemas import RowQuery

LATEST = 5
SELF = Health("Evaluator", "Judges, and shows this page", "ready", "Ready")

# Ids go into the paths of requests to peers: nothing that could lead elsewhere gets through.
Id = Annotated[str, Path(max_length=200, pattern=r"^[A-Za-z0-9_-]+$")]
AdapterName = Annotated[str, Path(max_length=200, pattern=r"^ft:[A-Za-z0-9_:.-]+$")]

router = APIRouter(include_in_schema=False)


def get_hasty_peers(request: Request) -> Peers:
    return asked_once(get_peers(request))


PagesDep = Annotated[Pages, Depends(get_pages)]
PeersDep = Annotated[Peers, Depends(get_hasty_peers)]


def get_latest(
    db: DatabaseDep, after: Annotated[str | None, Query(max_length=200)] = None
) -> tuple[list[Experiment], bool]:
    # A transaction of its own, not the request's: a page waits for peers, a connection should not.
    with db.transaction() as session:
        page = service.page(session, Cursor(after=after, limit=20))
        return page.data, page.has_more


def get_experiment(experiment_id: Id, db: DatabaseDep) -> Experiment:
    with db.transaction() as session:
        return service.get(session, experiment_id)


LatestDep = Annotated[tuple[list[Experiment], bool], Depends(get_latest)]
ExperimentDep = Annotated[Experiment, Depends(get_experiment)]


@router.get("/")
async def overview(pages: PagesDep, peers: PeersDep, latest: LatestDep) -> Response:
    services, jobs, records, loaded = await asyncio.gather(
        health(peers),
        hear("trainer", peers.trainer.jobs(limit=LATEST)),
        hear("trainer", peers.trainer.adapters(limit=LATEST)),
        hear("generator", peers.generator.adapters(limit=LATEST)),
    )
    return pages.render(
        "overview.html",
        services=[SELF, *services],
        experiments=latest[0][:LATEST],
        jobs=[job_view(job) for job in listed(jobs)],
        jobs_reason=jobs.reason,
        adapters=adapter_views(listed(records), listed(loaded))[:LATEST],
        adapters_reason=reasons(records, loaded),
    )


@router.get("/experiments")
def experiments(pages: PagesDep, latest: LatestDep) -> Response:
    return pages.render("experiments.html", experiments=latest[0], older=latest[1])


@router.get("/experiments/{experiment_id}")
def experiment(pages: PagesDep, found: ExperimentDep, db: DatabaseDep) -> Response:
    report = _report(db, found)
    return pages.render("experiment.html", view=experiment_view(found, report))


@router.get("/experiments/{experiment_id}/rows")
async def rows(
    pages: PagesDep,
    found: ExperimentDep,
    db: DatabaseDep,
    condition: Condition | None = None,
    arm: Annotated[list[str] | None, Query(max_length=32)] = None,
    outcome: Outcome = "all",
    metric: Annotated[str | None, Query(max_length=64)] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    preferred: Condition = (
        "retrieved" if "retrieved" in found.spec.conditions else found.spec.conditions[0]
    )
    names = [known.name for known in found.spec.arms]
    ask = RowsAsk(
        condition=condition if condition in found.spec.conditions else preferred,
        arms=tuple(name for name in arm or [] if name in names),
        outcome=outcome,
        metric=metric if metric in found.spec.metrics else found.spec.metrics[0],
        page=page,
    )
    view = await rows_view(_rows(db, found.id, ask.condition), found.spec, ask)
    return pages.render("rows.html", experiment=found, metrics=found.spec.metrics, view=view)


@router.get("/jobs")
async def jobs(pages: PagesDep, peers: PeersDep) -> Response:
    heard = await hear("trainer", peers.trainer.jobs(limit=100))
    return pages.render(
        "jobs.html",
        jobs=[job_view(job) for job in listed(heard)],
        older=heard.value.has_more if heard.value else False,
        reason=heard.reason,
    )


@router.get("/jobs/{job_id}")
async def job(pages: PagesDep, peers: PeersDep, job_id: Id) -> Response:
    found, events = await asyncio.gather(
        hear("trainer", peers.trainer.job(job_id)),
        hear("trainer", all_events(peers.trainer, job_id)),
    )
    happened = events.value or []
    return pages.render(
        "job.html",
        view=job_view(needed(found)),
        loss=loss_view(happened),
        messages=[event for event in reversed(happened) if event.type == "message"],
        reason=events.reason,
    )


@router.get("/adapters")
async def adapters(pages: PagesDep, peers: PeersDep) -> Response:
    records, loaded = await asyncio.gather(
        hear("trainer", peers.trainer.adapters()), hear("generator", peers.generator.adapters())
    )
    return pages.render(
        "adapters.html",
        adapters=adapter_views(listed(records), listed(loaded)),
        reason=reasons(records, loaded),
    )


@router.get("/adapters/{name:path}")
async def adapter(pages: PagesDep, peers: PeersDep, name: AdapterName) -> Response:
    record, loaded = await asyncio.gather(
        hear("trainer", peers.trainer.adapter(name)),
        hear("generator", peers.generator.adapter(name)),
    )
    if record.value is None and loaded.value is None:
        raise (loaded if record.missing else record).error or NotFound("There is no such adapter.")
    return pages.render(
        "adapter.html",
        view=adapter_view(record.value, loaded.value),
        reason=reasons(record, loaded),
    )


def _report(db: Database, experiment: Experiment) -> Report | None:
    if experiment.status != "completed":
        return None
    with db.transaction() as session:
        return service.report(session, experiment.id)


async def _rows(db: Database, experiment_id: str, condition: Condition) -> AsyncIterator[AnswerRow]:
    async for line in row_lines(db, RowQuery(experiment_id, None, condition)):
        yield AnswerRow.model_validate_json(line)
