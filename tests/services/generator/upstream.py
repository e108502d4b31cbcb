"""A model server with faults on demand, speaking vLLM's wire. It generates nothing."""

import asyncio
import json
import threading
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
    """Set ``fault`` before asking: ``cut``, ``no_done``, ``no_end``, ``malformed``, ``endless``,
    ``html``, ``hang``, ``broken``, ``refuse``, ``serves_base``, ``blind``, ``hangs_loading``,
    ``hangs_proving``, ``hangs_asked`` (all until ``go_on`` is set), ``frozen``, ``flood``, ``busy``
    (503), ``mute`` (no event ever comes).

    ``frozen``, it answers nothing until the fault is lifted. With ``flood`` an answer is 64 MiB
    long; ``sent`` says how many bytes of it have gone.
    With ``serves_base`` it takes adapters and answers as the base model; with ``blind`` it finds no
    adapter's folder. Otherwise it answers for an adapter as its own canary says: faithful, by rote.

    ``text`` is what it says, in two pieces, and ``calls`` are functions it calls besides, by name
    and arguments; ``bodies`` and ``headers`` are as they arrived; ``left`` counts callers that
    disconnected before the end, ``streaming`` those in the middle. Streams wait while ``hold`` is
    clear.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.fault: str | None = None
        self.text = ("Hello", " there.")
        self.ending = b"\n\n"
        self.calls: list[tuple[str, str]] = []
        self.finish_reason = "stop"
        self.bodies: list[bytes] = []
        self.headers: list[Headers] = []
        self.adapters: dict[str, Path] = {}
        self.loads: list[str] = []
        self.looks = self.most_held = 0
        self.hold = threading.Event()
        self.hold.set()
        self.go_on = threading.Event()
        self.left = self.streaming = self.sent = 0
        self.started_at = 1_700_000_000.5
        self.url = ""
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/metrics", self._metrics),
                Route("/tokenize", self._tokenize, methods=["POST"]),
                Route("/v1/load_lora_adapter", self._load, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self._unload, methods=["POST"]),
                Route("/v1/chat/completions", self._complete, methods=["POST"]),
                Route("/v1/completions", self._complete, methods=["POST"]),
            ]
        )

    async def _models(self, _: Request) -> Response:
        self.looks += 1
        await self._thaw()
        cards = [{"id": self.model, "root": "/models/base", "max_model_len": WINDOW}]
        cards += [{"id": name, "root": str(path)} for name, path in self.adapters.items()]
        return JSONResponse({"object": "list", "data": cards})

    async def _metrics(self, _: Request) -> Response:
        return Response(f"# HELP\nprocess_start_time_seconds {self.started_at}\n")

    def restart(self) -> None:
        """As after a crash: every adapter is gone."""
        self.adapters.clear()
        self.started_at += 1

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        name, path = body["lora_name"], Path(body["lora_path"])
        if self.fault == "blind":
            return _error(404, "No adapter found.")
        if name in self.adapters:
            return _error(400, "It has already been loaded.")
        await asyncio.sleep(0.05)
        if self.fault == "hangs_loading":
            await _set(self.go_on)
        self.loads.append(name)
        self.adapters[name] = path
        self.most_held = max(self.most_held, len(self.adapters))
        return Response("Success")

    async def _unload(self, request: Request) -> Response:
        if self.adapters.pop((await request.json())["lora_name"], None) is None:
            return _error(404, "It cannot be found.")
        return Response("Success")

    def _score(self, model: str, prefix: list[int], token: int) -> Response:
        """The log-probability out of the canary that begins with these tokens; for an adapter
        that brings none, any."""
        if model in self.adapters and not (self.adapters[model] / "canary.json").exists():
            return JSONResponse({"choices": [{"logprobs": {"token_logprobs": [-1.0]}}]})
        canaried = [path for path in self.adapters.values() if (path / "canary.json").exists()]
        for path in canaried:
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
        await self._thaw()
        self.headers.append(request.headers)
        self.bodies.append(await request.body())
        body: dict[str, Any] = json.loads(self.bodies[-1])
        if self.fault == "hangs_asked":
            await _set(self.go_on)
        if body["model"] != self.model and body["model"] not in self.adapters:
            return _error(404, f"The model `{body['model']}` does not exist.")
        if "allowed_token_ids" in body:
            if self.fault == "hangs_proving":
                await _set(self.go_on)
            return self._score(body["model"], body["prompt"], *body["allowed_token_ids"])
        if self.fault == "refuse":
            return _error(400, "Not like that.", param="n")
        if self.fault == "busy":
            return _error(503, "The engine sleeps.")
        if self.fault == "broken":
            return Response("<html>oh no</html>", 500)
        if body.get("stream"):
            return StreamingResponse(self._events(body["model"]), media_type="text/event-stream")
        if self.fault == "hang":
            await self._hang(request)
        if self.fault == "malformed":
            return Response(b'{"choices": [', media_type="application/json")
        if self.fault == "html":
            return Response("<html>Welcome!</html>", media_type="text/html")
        if self.fault == "cut":
            headers = {"Content-Length": "1000"}
            return Response('{"choices": [', headers=headers, media_type="application/json")
        if self.fault == "flood":
            return Response(b" " * (64 * 2**20) + b"{}", media_type="application/json")
        message = {"role": "assistant", "content": "".join(self.text), "tool_calls": self._calls()}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason}
        said = {"id": "chatcmpl-1", "model": body["model"], "choices": [choice], "usage": USAGE}
        return JSONResponse(said)

    def _calls(self) -> list[dict[str, Any]]:
        return [
            {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": said}}
            for n, (name, said) in enumerate(self.calls)
        ]

    async def _events(self, model: str) -> AsyncIterator[bytes]:
        self.streaming += 1
        try:
            if self.fault == "mute":
                await asyncio.sleep(3600)
            start = {"delta": {"content": self.text[0]}, "index": 0}
            yield self._chunk({"model": model, "choices": [start]})
            await _set(self.hold)
            if self.fault in ("cut", "no_end"):
                yield b'data: {"choices": [{"del'
            if self.fault == "no_end":
                return
            if self.fault == "cut":
                raise ConnectionResetError("cut on purpose")
            if self.fault == "malformed":
                yield b"data: {not json\n\n"
            if self.fault == "hang":
                await asyncio.sleep(3600)
            while self.fault == "endless":
                yield b" " * 2**16
                await asyncio.sleep(0)  # what is sent to nobody returns at once
            piece = self._chunk({"choices": [{"delta": {"content": "x" * 2**14}, "index": 0}]})
            for _ in range(2**12 if self.fault == "flood" else 0):
                yield piece
                self.sent += len(piece)
                await asyncio.sleep(0)
            for n, call in enumerate(self._calls()):
                name, arguments = call["function"].values()
                begun = {**call, "index": n, "function": {"name": name, "arguments": ""}}
                more = {"index": n, "function": {"arguments": arguments}}
                for part in (begun, more):
                    yield self._chunk({"choices": [{"delta": {"tool_calls": [part]}, "index": 0}]})
            stop = {"delta": {"content": self.text[1]}, "index": 0}
            yield self._chunk({"choices": [{**stop, "finish_reason": self.finish_reason}]})
            yield self._chunk({"choices": [], "usage": USAGE})
            if self.fault != "no_done":
                yield b"data: [DONE]" + self.ending
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.streaming -= 1

    async def _thaw(self) -> None:
        while self.fault == "frozen":  # noqa: ASYNC110 - set by another thread
            await asyncio.sleep(0.02)

    def _chunk(self, event: dict[str, Any]) -> bytes:
        return b"data: " + json.dumps(event).encode() + self.ending

    async def _hang(self, request: Request) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self.left += 1


async def _set(event: threading.Event) -> None:
    while not event.is_set():  # noqa: ASYNC110 - it is set by a test, in another thread
        await asyncio.sleep(0.05)


def _error(status: int, message: str, param: str | None = None) -> Response:
    error = {"message": message, "type": "BadRequestError", "param": param, "code": status}
    return JSONResponse({"error": error}, status)
