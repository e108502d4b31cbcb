"""The generator's routes."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.common.app import SessionDep
from services.common.contracts.base import Deleted, Page
from services.common.contracts.generator import (
    Adapter,
    AdapterCreate,
    AdapterTrial,
    Model,
    ModelList,
    RagAnswer,
    RagAsk,
)
from services.common.pagination import CursorDep, to_page
from services.generator import storage
from services.generator.adapters.keeper import no_adapter, no_model
from services.generator.aliases import storage as alias_storage
from services.generator.deps import AliasesDep, GeneratorDep, KeeperDep, RagDep
from services.generator.service import Generator, adapter_of, trial_of
from services.generator.streaming import EventStream, while_connected

router = APIRouter(prefix="/v1")


async def _hand_on(request: Request, generator: Generator) -> Response:
    """The caller's bytes to vLLM, vLLM's bytes to the caller."""
    body = await request.body()
    relay = await while_connected(request, generator.hand_on(request.url.path, body))
    if relay.streams:
        return EventStream(relay, relay.events())
    async with relay:
        content = await while_connected(request, relay.read())
    return Response(content, media_type=relay.media_type, headers=relay.served.headers)


@router.post("/chat/completions")
async def create_chat_completion(request: Request, generator: GeneratorDep) -> Response:
    return await _hand_on(request, generator)


@router.post("/completions")
async def create_completion(request: Request, generator: GeneratorDep) -> Response:
    return await _hand_on(request, generator)


@router.post("/rag/query", response_model=RagAnswer)
async def query_rag(ask: RagAsk, request: Request, rag: RagDep) -> RagAnswer | Response:
    if not ask.stream:
        return await while_connected(request, rag.answer(ask))
    asked, relay = await while_connected(request, rag.begin(ask))
    return EventStream(relay, rag.events(asked, relay))


@router.get("/models")
def list_models(session: SessionDep, generator: GeneratorDep) -> ModelList:
    aliases = alias_storage.all_aliases(session)  # read first: their adapters are there, then
    return ModelList(data=generator.cards(storage.all_adapters(session), aliases))


@router.get("/models/{name:path}")
def get_model(name: str, session: SessionDep, generator: GeneratorDep) -> Model:
    if (fixed := generator.fixed_card(name)) is not None:
        return fixed
    alias = alias_storage.alias(session, name)
    row = storage.adapter(session, alias.adapter if alias else name)
    if row is None:
        raise no_model(name)
    card = generator.card(row)
    return generator.alias_card(alias, card) if alias else card


@router.delete("/models/{name:path}")
async def delete_model(name: str, aliases: AliasesDep) -> Deleted:
    await aliases.delete_model(name)
    return Deleted(id=name, object="model")


@router.post("/adapters")
async def load_adapter(ask: AdapterCreate, keeper: KeeperDep) -> Adapter:
    return adapter_of(await keeper.load(ask.name, ask.pinned))


@router.get("/adapters")
def list_adapters(session: SessionDep, cursor: CursorDep) -> Page[Adapter]:
    rows, has_more = storage.adapters_page(session, cursor)
    return to_page([adapter_of(row) for row in rows], has_more)


@router.get("/adapters/{name:path}/trials")
def list_trials(name: str, session: SessionDep, cursor: CursorDep) -> Page[AdapterTrial]:
    rows, has_more = storage.trials_page(session, name, cursor)
    return to_page([trial_of(row) for row in rows], has_more)


@router.get("/adapters/{name:path}")
def get_adapter(name: str, session: SessionDep) -> Adapter:
    row = storage.adapter(session, name)
    if row is None:
        raise no_adapter(name)
    return adapter_of(row)


@router.delete("/adapters/{name:path}")
async def unload_adapter(name: str, keeper: KeeperDep) -> Deleted:
    await keeper.unload(name)
    return Deleted(id=name, object="adapter")
