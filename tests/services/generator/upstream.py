"""A model server with faults on demand, speaking vLLM's wire. It generates nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WINDOW = 512
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


class Upstream:
    """Set ``fault`` before asking: ``cut``, ``no_done``, ``malformed``, ``hang``, ``broken``.

    ``text`` is what it says, in two pieces; ``bodies`` are the requests as they arrived;
    ``left`` counts callers that disconnected before the end.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.fault: str | None = None
        self.text = ("Hello", " there.")
        self.bodies: list[bytes] = []
        self.left = 0
        self.url = ""
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
            ]
        )

    async def _models(self, _: Request) -> Response:
        card = {"id": self.model, "root": "/models/base", "max_model_len": WINDOW}
        return JSONResponse({"object": "list", "data": [card]})

    async def _tokenize(self, request: Request) -> Response:
        """A token a word."""
        messages = (await request.json())["messages"]
        return JSONResponse({"count": sum(len(m["content"].split()) for m in messages)})

    async def _complete(self, request: Request) -> Response:
        self.bodies.append(await request.body())
        body: dict[str, Any] = json.loads(self.bodies[-1])
        if self.fault == "refuse":
            error = {"message": "Not like that.", "type": "BadRequestError", "param": "n"}
            return JSONResponse({"error": error | {"code": 400}}, 400)
        if self.fault == "broken":
            return Response("<html>oh no</html>", 500)
        if body.get("stream"):
            return StreamingResponse(self._events(), media_type="text/event-stream")
        if self.fault == "hang":
            await self._hang(request)
        if self.fault == "malformed":
            return Response(b'{"choices": [', media_type="application/json")
        message = {"role": "assistant", "content": "".join(self.text)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return JSONResponse({"id": "chatcmpl-1", "choices": [choice], "usage": USAGE})

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            yield _chunk({"choices": [{"delta": {"content": self.text[0]}, "index": 0}]})
            if self.fault == "cut":
                yield b'data: {"choices": [{"del'
                raise ConnectionResetError("cut on purpose")
            if self.fault == "malformed":
                yield b"data: {not json\n\n"
            if self.fault == "hang":
                await asyncio.sleep(3600)
            stop = {"delta": {"content": self.text[1]}, "index": 0, "finish_reason": "stop"}
            yield _chunk({"choices": [stop]})
            yield _chunk({"choices": [], "usage": USAGE})
            if self.fault != "no_done":
                yield b"data: [DONE]\n\n"
        except asyncio.CancelledError:
            self.left += 1
            raise

    async def _hang(self, request: Request) -> None:
        while not await request.is_disconnected():
            await asyncio.sleep(0.02)
        self.left += 1


def _chunk(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"
