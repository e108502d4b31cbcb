"""What routes are given."""

from typing import Annotated, cast

from fastapi import Depends, Path, Query, Request

from services.common.app import SessionDep
from services.common.contracts.evaluator import ExperimentCreate
from services.common.contracts.generator import Condition
from services.common.db import Database
from services.common.storage import ArtifactStore
from services.common.tasks import TaskQueue
from services.evaluator import service
from services.evaluator.checking import Checked, check
from services.evaluator.peers import Peers
from services.evaluator.schemas import RowQuery


def get_peers(request: Request) -> Peers:
    return cast(Peers, request.app.state.peers)


def get_tasks(request: Request) -> TaskQueue:
    return cast(TaskQueue, request.app.state.tasks)


def get_artifacts(request: Request) -> ArtifactStore:
    return cast(ArtifactStore, request.app.state.artifacts)


def get_db(request: Request) -> Database:
    return cast(Database, request.app.state.db)


PeersDep = Annotated[Peers, Depends(get_peers)]
TasksDep = Annotated[TaskQueue, Depends(get_tasks)]
ArtifactsDep = Annotated[ArtifactStore, Depends(get_artifacts)]
DatabaseDep = Annotated[Database, Depends(get_db)]
ExperimentId = Annotated[str, Path(max_length=200)]


async def get_checked(ask: ExperimentCreate, peers: PeersDep) -> Checked:
    """Peers are asked before the transaction begins, so that it stays short."""
    return await check(ask, peers)


def get_row_query(
    session: SessionDep,
    experiment_id: ExperimentId,
    arm: Annotated[str | None, Query(max_length=64)] = None,
    condition: Condition | None = None,
) -> RowQuery:
    return service.check_rows(session, RowQuery(experiment_id, arm, condition))


CheckedDep = Annotated[Checked, Depends(get_checked)]
RowQueryDep = Annotated[RowQuery, Depends(get_row_query, scope="function")]
