"""What routes are given."""

from dataclasses import replace
from typing import Annotated, cast

from fastapi import Depends, Header, Path, Query, Request

from services.common.app import SessionDep
from services.common.contracts.budget import BudgetAsk
from services.common.contracts.evaluator import ExperimentCreate
from services.common.contracts.flips import Outcome
from services.common.contracts.gate import GateFloor
from services.common.contracts.generator import Condition
from services.common.db import Database
from services.common.storage import ArtifactStore
from services.common.tasks import TaskQueue
from services.common.watching import Watchers
from services.evaluator import rows, service
from services.evaluator.checking import Checked, check
from services.evaluator.estimating import Sized, size
from services.evaluator.flips.service import FlipQuery
from services.evaluator.peers import Peers
from services.evaluator.schemas import RowQuery
from services.evaluator.settings import EvaluatorSettings


def get_peers(request: Request) -> Peers:
    return cast(Peers, request.app.state.peers)


def get_tasks(request: Request) -> TaskQueue:
    return cast(TaskQueue, request.app.state.tasks)


def get_artifacts(request: Request) -> ArtifactStore:
    return cast(ArtifactStore, request.app.state.artifacts)


def get_db(request: Request) -> Database:
    return cast(Database, request.app.state.db)


def get_gate_floor(request: Request) -> GateFloor | None:
    return cast(EvaluatorSettings, request.app.state.settings).gate_floor


GateFloorDep = Annotated[GateFloor | None, Depends(get_gate_floor)]


def get_watchers(request: Request) -> Watchers:
    return cast(Watchers, request.app.state.watchers)


WatchersDep = Annotated[Watchers, Depends(get_watchers)]
PeersDep = Annotated[Peers, Depends(get_peers)]
TasksDep = Annotated[TaskQueue, Depends(get_tasks)]
ArtifactsDep = Annotated[ArtifactStore, Depends(get_artifacts)]
DatabaseDep = Annotated[Database, Depends(get_db)]
ExperimentId = Annotated[str, Path(max_length=200)]
GateId = Annotated[str, Path(max_length=200)]


async def get_checked(request: Request, ask: ExperimentCreate, peers: PeersDep) -> Checked:
    """Peers are asked before the transaction begins, so that it stays short."""
    settings: EvaluatorSettings = request.app.state.settings
    checked = await check(ask, peers, embeds=settings.embedding_model is not None)
    if ask.budget == BudgetAsk():
        return checked
    return replace(checked, sized=await size(ask, peers, most_items=settings.max_items))


async def get_sized(
    request: Request, ask: ExperimentCreate, peers: PeersDep
) -> tuple[ExperimentCreate, Sized]:
    """A specification that could be run, and how much there is of its data."""
    settings: EvaluatorSettings = request.app.state.settings
    await check(ask, peers, embeds=settings.embedding_model is not None)
    return ask, await size(ask, peers, most_items=settings.max_items)


def get_row_query(
    session: SessionDep,
    experiment_id: ExperimentId,
    arm: Annotated[str | None, Query(max_length=64)] = None,
    condition: Condition | None = None,
) -> RowQuery:
    return rows.check_rows(session, RowQuery(experiment_id, arm, condition))


def get_flip_query(
    arm: Annotated[str | None, Query(max_length=64)] = None,
    condition: Condition | None = None,
    metric: Annotated[str | None, Query(max_length=64)] = None,
    outcome: Outcome = "lost",
    after: Annotated[str | None, Query(max_length=500, pattern=r"^[^\x00]+$")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> FlipQuery:
    return FlipQuery(arm, condition, metric, outcome, after, limit)


SizedDep = Annotated[tuple[ExperimentCreate, Sized], Depends(get_sized)]


def get_last_event(
    last_event_id: Annotated[str | None, Header(max_length=200)] = None,
    after: Annotated[str | None, Query(max_length=200)] = None,
) -> int | None:
    """A browser that reconnects repeats its URL, ``after`` included, but has seen more since."""
    return service.event_number(last_event_id or after)


LastEventDep = Annotated[int | None, Depends(get_last_event)]
CheckedDep = Annotated[Checked, Depends(get_checked)]
FlipQueryDep = Annotated[FlipQuery, Depends(get_flip_query)]
RowQueryDep = Annotated[RowQuery, Depends(get_row_query, scope="function")]
