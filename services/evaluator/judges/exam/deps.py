"""What the routes of exams are given."""

from typing import Annotated

from fastapi import Depends, Path, Request

from services.common.contracts.exam import ExamCreate, ExamplesCreate
from services.evaluator.deps import PeersDep
from services.evaluator.judges.exam import service
from services.evaluator.judges.exam.service import Checked
from services.evaluator.schemas import ItemLine

ExamId = Annotated[str, Path(max_length=200)]


async def get_checked(ask: ExamCreate, peers: PeersDep) -> Checked:
    """Peers are asked before the transaction begins, so that it stays short."""
    return await service.check(ask, peers)


async def get_items(ask: ExamplesCreate, peers: PeersDep, request: Request) -> list[ItemLine]:
    most = request.app.state.settings.max_items
    return await service.items_of(ask.file_id, peers, most=most)


CheckedDep = Annotated[Checked, Depends(get_checked)]
ItemsDep = Annotated[list[ItemLine], Depends(get_items)]
