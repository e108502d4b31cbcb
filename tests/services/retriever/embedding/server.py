"""A server that speaks ``/v1/embeddings`` with real vectors, and misbehaves when told to."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.conftest import free_port
from tests.services.retriever.conftest import serving

SIZE = 48
KEY = "embedding-key"


def proper(body: dict[str, Any]) -> Response:
    return JSONResponse(body)


@dataclass
class EmbeddingServer:
    """``asked`` is every request's body; ``answer`` makes the response of the proper one's body."""

    url: str = ""
    size: int = SIZE
    asked: list[dict[str, Any]] = field(default_factory=list)
    answer: Callable[[dict[str, Any]], Response] = proper


@contextmanager
def embedding_server(embed: Callable[[Sequence[str]], Any]) -> Iterator[EmbeddingServer]:
    """The first numbers of a real model's vectors, not of length 1, and last things first."""
    server = EmbeddingServer()

    async def embeddings(request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": {"message": "No such key."}}, status_code=401)
        ask = await request.json()
        server.asked.append(ask)
        vectors = 3 * _sized(embed(ask["input"]), server.size)
        data = [
            {"object": "embedding", "index": index, "embedding": vector.tolist()}
            for index, vector in enumerate(vectors)
        ]
        return server.answer({"object": "list", "model": ask["model"], "data": data[::-1]})

    async def healthz(_: Request) -> Response:
        return Response()

    routes = [Route("/v1/embeddings", embeddings, methods=["POST"]), Route("/healthz", healthz)]
    with serving(Starlette(routes=routes), free_port(), ready="/healthz") as url:
        server.url = f"{url}/v1"
        yield server


def _sized(vectors: Any, size: int) -> Any:
    repeated = np.tile(vectors, (1, -(-size // vectors.shape[1])))
    return repeated[:, :size]
