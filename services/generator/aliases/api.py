"""Aliases over HTTP."""

from fastapi import APIRouter

from services.common.app import CallerDep, SessionDep
from services.common.contracts.aliases import Alias, AliasChange, AliasCreate
from services.common.contracts.base import Deleted, Page
from services.common.pagination import CursorDep, to_page
from services.generator.aliases import storage as alias_storage
from services.generator.aliases.service import change_of, no_alias
from services.generator.deps import AliasesDep

router = APIRouter(prefix="/v1/adapters/aliases")


@router.post("")
async def set_alias(ask: AliasCreate, aliases: AliasesDep, caller: CallerDep) -> Alias:
    """Make it, or switch it; setting it to what it is already changes nothing."""
    return aliases.shown(await aliases.point(ask, caller))


@router.get("")
def list_aliases(session: SessionDep, cursor: CursorDep, aliases: AliasesDep) -> Page[Alias]:
    rows, has_more = alias_storage.aliases_page(session, cursor)
    return to_page([aliases.shown(row) for row in rows], has_more)


@router.get("/{name}")
def get_alias(name: str, session: SessionDep, aliases: AliasesDep) -> Alias:
    row = alias_storage.alias(session, name)
    if row is None:
        raise no_alias(name)
    return aliases.shown(row)


@router.get("/{name}/history")
def list_changes(name: str, session: SessionDep, cursor: CursorDep) -> Page[AliasChange]:
    """What it stood for, and since when; also of one that was deleted."""
    rows, has_more = alias_storage.changes_page(session, name, cursor)
    if not rows and not cursor.after:
        raise no_alias(name)
    return to_page([change_of(row) for row in rows], has_more)


@router.delete("/{name}")
async def delete_alias(name: str, aliases: AliasesDep, caller: CallerDep) -> Deleted:
    await aliases.remove(name, caller)
    return Deleted(id=name, object="adapter.alias")
