"""Bodies parsed in Rust are taken, and refused, as the standard library's."""

import json
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Body, FastAPI

from services.common import bodies
from services.common.bodies import ManyNumbers
from services.common.errors import add_handlers

JSON = {"content-type": "application/json"}

BODIES = [
    b'{"vector": [0.1, -0.0, 1e-400, 1e400, NaN, -Infinity, 123456789012345678901234567890]}',
    '{"text": "caf\u00e9 \\ud83d\\ude42 \\u0000"}'.encode(),
    b'{"a": 1, "a": 2}',
    b'{"text": "\\ud800"}',
    b'\xef\xbb\xbf{"text": "after a mark"}',
    '{"text": "utf-16"}'.encode("utf-16"),
    b'{"text": "\xff"}',
    b'{"cut": ',
    b"{} trailing",
    b"[" * 300 + b"]" * 300,
    b"[" * 5_000 + b"]" * 5_000,
    b"",
]


@pytest.fixture
async def http() -> Any:
    app = FastAPI()
    add_handlers(app)
    for path, kind in (("/rust", {"route_class": ManyNumbers}), ("/python", {})):
        router = APIRouter(prefix=path, **kind)

        @router.post("")
        async def seen(body: Annotated[Any, Body()]) -> str:
            return repr(body)

        app.include_router(router)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
        yield http


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_each_body_is_what_it_was(http: httpx.AsyncClient, body: bytes) -> None:
    ours, theirs = [await http.post(at, content=body, headers=JSON) for at in ("/rust", "/python")]
    assert ours.status_code == theirs.status_code
    assert ours.content == theirs.content
    assert ours.status_code in (200, 400)


async def test_what_is_in_order_is_parsed_once(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bytes] = []
    parse = bodies.from_json
    monkeypatch.setattr(bodies, "from_json", lambda body: seen.append(body) or parse(body))
    monkeypatch.setattr(json, "loads", None)
    assert (await http.post("/rust", content=b"[1.5]", headers=JSON)).content == b'"[1.5]"'
    assert seen == [b"[1.5]"]
