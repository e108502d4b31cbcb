"""The routes of ``/v1/responses``."""

from fastapi import APIRouter, Request
from starlette.responses import Response as HttpResponse

from services.common.errors import NotFound
from services.generator.deps import ResponsesDep
from services.generator.responses.output import Response
from services.generator.responses.schemas import ResponseAsk
from services.generator.streaming import EventStream, while_connected

router = APIRouter(prefix="/v1/responses")


@router.post("", response_model=Response)
async def create_response(
    ask: ResponseAsk, request: Request, responses: ResponsesDep
) -> Response | HttpResponse:
    if not ask.stream:
        return await while_connected(request, responses.create(ask))
    asked, relay = await while_connected(request, responses.begin(ask))
    return EventStream(relay, responses.events(asked, relay))


@router.api_route("/{rest:path}", methods=["GET", "POST", "DELETE"])
def find_response(rest: str) -> None:
    raise NotFound(
        f"There is no response at '{rest}': none is kept here (each says store=false). Send the "
        "earlier turns in 'input'.",
        code="response_not_kept",
    )
