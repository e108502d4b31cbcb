"""A generator and a trainer of known words, as real applications on the agreed wire.

They stand where models would whose answers are not known beforehand; a real vLLM is asked
elsewhere.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from services.common.clients.generator import GeneratorClient
from services.common.clients.retriever import RetrieverClient
from services.common.clients.trainer import TrainerClient
from services.common.contracts.generator import Model
from services.common.contracts.trainer import FileObject
from services.common.errors import FineproofError, NotFound, Unavailable, add_handlers
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings

BASE, TUNED, ALIAS = "small-base", "ft:small-base:qa:1", "ft:small-base:production"
SHA = "ab" * 32

Body = dict[str, Any]


def last_words(body: Body) -> str:
    return str(body["messages"][-1]["content"])


@dataclass
class World:
    """What the stand-ins know and do. ``speak`` answers a chat, ``refuse`` may raise instead;
    ``raw`` gives a whole completion, as JSON that is written already where it is text.
    ``files_away`` is how many times a file's content is not to be had."""

    speak: Callable[[Body], str] = last_words
    refuse: Callable[[Body], FineproofError | None] = lambda _: None
    raw: Callable[[Body], Any] | None = None
    served_sha256: dict[str, str | None] = field(
        default_factory=lambda: {BASE: None, TUNED: SHA, ALIAS: SHA}
    )
    answering_sha256: str | None = SHA
    base_revision: str | None = "sha256:ab"
    files: dict[str, tuple[str, str]] = field(default_factory=dict)
    files_away: int = 0
    asked: list[Body] = field(default_factory=list)
    milestones: dict[int, asyncio.Event] = field(default_factory=dict)
    hold: asyncio.Event | None = None

    @property
    def times_asked(self) -> Counter[str]:
        return Counter(last_words(body) for body in self.asked)

    async def was_asked(self, count: int) -> None:
        await self.milestones.setdefault(count, asyncio.Event()).wait()


def generator_app(world: World) -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/v1/models/{name:path}")
    def model(name: str) -> Model:
        if name not in world.served_sha256:
            raise NotFound("No such model.", code="model_not_found")
        sha256 = world.served_sha256[name]
        return Model(id=name, created=0, sha256=sha256, base_revision=world.base_revision)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await request.json()
        world.asked.append(body)
        if (milestone := world.milestones.get(len(world.asked))) is not None:
            milestone.set()
        if world.hold is not None:
            await world.hold.wait()
        if (error := world.refuse(body)) is not None:
            raise error
        adapted = world.served_sha256[body["model"]] is not None
        headers = {"X-Fineproof-Model": body["model"]}
        if world.base_revision is not None:
            headers["X-Fineproof-Base-Revision"] = world.base_revision
        if adapted and world.answering_sha256:
            headers["X-Fineproof-Adapter-Sha256"] = world.answering_sha256
        answer = world.raw(body) if world.raw else completion(body["model"], world.speak(body))
        if isinstance(answer, str):
            return Response(answer, headers=headers, media_type="application/json")
        return JSONResponse(answer, headers=headers)

    return app


def completion(model: str, text: str) -> Body:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
    }


def trainer_app(world: World) -> FastAPI:
    app = FastAPI()
    add_handlers(app)

    @app.get("/v1/files/{file_id}")
    def file(file_id: str) -> FileObject:
        if file_id not in world.files:
            raise NotFound("No such file.")
        purpose, content = world.files[file_id]
        return FileObject(
            id=file_id,
            bytes=len(content.encode()),
            created_at=0,
            filename="items.jsonl",
            purpose=purpose,
            status="processed",
            sha256="ef" * 32,
        )

    @app.get("/v1/files/{file_id}/content")
    def content(file_id: str) -> PlainTextResponse:
        if world.files_away:
            world.files_away -= 1
            raise Unavailable("The trainer is away.")
        return PlainTextResponse(world.files[file_id][1])

    @app.get("/v1/fine_tuning/adapters/{name}")
    def adapter(name: str) -> None:
        raise NotFound("No such adapter.")

    return app


@asynccontextmanager
async def connect(world: World, _: EvaluatorSettings) -> AsyncIterator[Peers]:
    """Real clients over a transport bound to the stand-ins."""
    async with AsyncExitStack() as stack:

        async def client(app: FastAPI) -> httpx.AsyncClient:
            return await stack.enter_async_context(
                httpx.AsyncClient(
                    transport=httpx.ASGITransport(app), base_url="http://peer", timeout=30
                )
            )

        yield Peers(
            generator=GeneratorClient(await client(generator_app(world)), attempts=1),
            retriever=RetrieverClient(await client(FastAPI()), attempts=1),
            trainer=TrainerClient(await client(trainer_app(world)), attempts=1),
        )


def lines(*items: Body) -> str:
    return "\n".join(json.dumps({"item": item}) for item in items)
