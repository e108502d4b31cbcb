"""What makes an application show the dashboard."""

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from fastapi import FastAPI, Request
from fastapi.exceptions import WebSocketRequestValidationError
from starlette.responses import Response

from services.evaluator.dashboard import judges
from services.evaluator.dashboard.pages import ASSETS, Assets, Pages, get_pages
from services.evaluator.dashboard.routes import router

Handler = Callable[[Request, Any], Awaitable[Response]]

TITLES: Final = {
    400: "That cannot be read",
    404: "Nothing here",
    503: "Not available right now",
    504: "No answer in time",
}


def install(app: FastAPI) -> None:
    """Show the dashboard at the root of ``app``, and its errors to browsers as pages."""
    app.state.pages = Pages()
    app.include_router(router)
    app.include_router(judges.router)
    app.mount("/assets", Assets(directory=ASSETS))
    for kind, handler in list(app.exception_handlers.items()):
        if kind is not WebSocketRequestValidationError:
            app.add_exception_handler(kind, _for_people(handler))


def _for_people(handler: Any) -> Handler:
    """The same handler; where a person is reading, its sentence is put on a page."""

    async def handle(request: Request, error: Any) -> Response:
        response = cast(Response, await handler(request, error))
        if not _is_person(request):
            return response
        message = json.loads(bytes(response.body))["error"]["message"]
        status = response.status_code
        title = TITLES.get(status, "Something went wrong")
        return get_pages(request).render(
            "error.html", status=status, code=status, title=title, message=message
        )

    return handle


def _is_person(request: Request) -> bool:
    return (
        request.method in ("GET", "HEAD")
        and "text/html" in request.headers.get("accept", "")
        and not request.url.path.startswith("/v1/")
    )
