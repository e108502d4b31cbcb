"""A model server with faults on demand, speaking vLLM's wire. It generates nothing."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

WINDOW = 512
USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


class Upstream:
    """Set ``fault`` before asking: ``cut``, ``no_done``, ``malformed``, ``hang``, ``broken``,
    ``refuse``, ``serves_base``, ``blind``.

    With ``serves_base`` it takes adapters and answers as the base model; with ``blind`` it finds no
    adapter's folder. Otherwise it answers for an adapter as its own canary says: faithful, by rote.

    ``text`` is what it says, in two pieces; ``bodies`` and ``headers`` are as they arrived;
    ``left`` counts callers that disconnected before the end.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.fault: str | None = None
        self.text = ("Hello", " there.")
        self.bodies: list[bytes] = []
        self.headers: list[Headers] = []
        self.adapters: dict[str, Path] = {}
        self.loads: list[str] = []
        self.left = 0
        self.url = ""
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
            ]
        )

    async def _models(self, _: Request) -> Response:
        cards = [{"id": self.model, "root": "/models/base", "max_model_len": WINDOW}]
        cards += [{"id": name, "root": str(path)} for name, path in self.adapters.items()]
        return JSONResponse({"object": "list", "data": cards})

    def restart(self) -> None:
        """As after a crash: every adapter is gone."""
        self.adapters.clear()

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        name, path = body["lora_name"], Path(body["lora_path"])
        if self.fault == "blind":
            return _error(404, "No adapter found.")
        if name in self.adapters:
            return _error(400, "It has already been loaded.")
        await asyncio.sleep(0.05)
        self.loads.append(name)
        self.adapters[name] = path
        return Response("Success")

    async def _unload(self, request: Request) -> Response:
        if self.adapters.pop((await request.json())["lora_name"], None) is None:
            return _error(404, "It cannot be found.")
        return Response("Success")

    def _score(self, model: str, prefix: list[int], token: int) -> Response:
        """The log-probability out of the canary that begins with these tokens."""
        for path in self.adapters.values():
            for sequence in json.loads((path / "canary.json").read_text())["sequences"]:
                at = len(prefix)
                if sequence["token_ids"][: at + 1] == [*prefix, token]:
                    plain = model == self.model or self.fault == "serves_base"
                    said = sequence["base" if plain else "adapted"][at - 1]
                    return JSONResponse({"choices": [{"logprobs": {"token_logprobs": [said]}}]})
        return _error(400, "No adapter has a canary like this.")

    async def _tokenize(self, request: Request) -> Response:
        """A token a word."""
        messages = (await request.json())["messages"]
        return JSONResponse({"count": sum(len(m["content"].split()) for m in messages)})

    async def _complete(self, request: Request) -> Response:
        self.headers.append(request.headers)
        self.bodies.append(await request.body())
        body: dict[str, Any] = json.loads(self.bodies[-1])
        if body["model"] != self.model and body["model"] not in self.adapters:
            return _error(404, f"The model `{body['model']}` does not exist.")
        if "allowed_token_ids" in body:
            return self._score(body["model"], body["prompt"], *body["allowed_token_ids"])
        if self.fault == "refuse":
            return _error(400, "Not like that.", param="n")
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
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.left += 1


def _error(status: int, message: str, param: str | None = None) -> Response:
    error = {"message": message, "type": "BadRequestError", "param": param, "code": status}
    return JSONResponse({"error": error}, status)


def _chunk(event: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"
