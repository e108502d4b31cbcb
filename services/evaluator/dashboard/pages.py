"""Rendering: one jinja2 environment that escapes everything, one set of headers on every page."""

import hashlib
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from services.evaluator.dashboard import words

HERE: Final = Path(__file__).parent
ASSETS: Final = HERE / "assets"

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

FILTERS: Final = {
    "ago": words.ago,
    "count": words.count,
    "duration": words.duration,
    "figure": words.figure,
    "file_size": words.file_size,
    "interval": words.interval,
    "iso": words.iso,
    "meaning": words.meaning,
    "moment": words.moment,
    "p_value": words.p_value,
    "signed": words.signed,
    "significant": words.significant,
    "term": words.term,
    "segment": lambda text: quote(text, safe=":"),
}


class Pages:
    """The templates, read once a process."""

    def __init__(self) -> None:
        self.environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters.update(FILTERS)
        self.environment.globals["assets"] = _fingerprint()

    def render(self, template: str, *, status: int = 200, **shown: Any) -> HTMLResponse:
        page = self.environment.get_template(template).render(shown)
        return HTMLResponse(
            page.encode("utf-8", "replace"),  # a lone surrogate in an answer is shown as "?"
            status_code=status,
            headers=HEADERS,
        )


def get_pages(request: Request) -> Pages:
    return cast(Pages, request.app.state.pages)


class Assets(StaticFiles):
    """The style sheet, the script and the icon; their address changes when they do."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def get_response(self, path: str, scope: Scope) -> Response:
        _, _, name = path.partition("/")  # the first segment is the fingerprint
        return await super().get_response(name, scope)


def _fingerprint() -> str:
    contents = b"".join(path.read_bytes() for path in sorted(ASSETS.iterdir()))
    return "/assets/" + hashlib.sha256(contents).hexdigest()[:12]
