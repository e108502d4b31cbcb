"""Routes of exports. Included before those of adapters, whose names take the rest of a path."""

from fastapi import APIRouter

from services.common.app import CallerDep, SessionDep
from services.common.contracts.base import Page
from services.common.contracts.trainer import ExportCreate, ExportRecord
from services.common.pagination import CursorDep
from services.trainer import exports as rules
from services.trainer.deps import TrainerDep

exports = APIRouter(prefix="/v1/fine_tuning/adapters", tags=["exports"])


@exports.post("/{name:path}/exports")
def create_export(
    session: SessionDep, trainer: TrainerDep, caller: CallerDep, name: str, ask: ExportCreate
) -> ExportRecord:
    return rules.create_export(session, trainer, name, ask, caller)


@exports.get("/{name:path}/exports")
def list_exports(session: SessionDep, cursor: CursorDep, name: str) -> Page[ExportRecord]:
    return rules.list_exports(session, name, cursor)


@exports.get("/{name:path}/exports/{export_id}")
def get_export(session: SessionDep, name: str, export_id: str) -> ExportRecord:
    return rules.get_export(session, name, export_id)
