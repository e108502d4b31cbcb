"""The front door between real uvicorn servers and real sockets."""

import asyncio
import hashlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import httpx
import openai
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from fineproof.local.front_door import create_app
from services.common.routes import ROUTES, service_for
from tests.conftest import free_port


@dataclass
class Seen:
    """What the upstream service saw happen."""

    first_chunk: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def seen() -> Seen:
    return Seen()


def upstream(name: str, seen: Seen) -> Starlette:
    async def echo(request: Request) -> Response:
        return JSONResponse(
            {
                "service": name,
                "path": request.scope["raw_path"].decode(),
                "query": request.url.query,
                "headers": request.headers.items(),
            },
            headers={"x-custom": "kept", "keep-alive": "timeout=5"},
        )

    async def events(_: Request) -> Response:
        async def stream() -> AsyncIterator[str]:
            try:
                yield "data: one\n\n"
                while not seen.go_on.is_set():  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(0.01)
                yield "data: two\n\n"
            finally:
                seen.closed.set()

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def upload(request: Request) -> Response:
        digest, size = hashlib.sha256(), 0
        try:
            async for chunk in request.stream():
                digest.update(chunk)
                size += len(chunk)
                seen.first_chunk.set()
        except ClientDisconnect:
            seen.closed.set()
            raise
        return JSONResponse({"size": size, "sha256": digest.hexdigest()})

    async def think(request: Request) -> Response:
        seen.first_chunk.set()
        while not await request.is_disconnected():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        seen.closed.set()
        return Response()

    async def break_off(_: Request) -> Response:
        async def stream() -> AsyncIterator[bytes]:
            yield b"half an ans"
            raise RuntimeError("the service broke off")

        return StreamingResponse(stream())

    async def refuse_early(_: Request) -> Response:
        return JSONResponse({"error": {"code": "too_large"}}, status_code=413)

    return Starlette(
        routes=[
            Route("/v1/chat/completions", events, methods=["POST"]),
            Route("/v1/chat/think", think, methods=["POST"]),
            Route("/v1/chat/break", break_off),
            Route("/v1/files", upload, methods=["POST"]),
            Route("/v1/uploads", refuse_early, methods=["POST"]),
            Route("/{path:path}", echo),
        ]
    )


class Served:
    """An application under a real uvicorn in a thread of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.port = free_port()
        config = uvicorn.Config(
            app, port=self.port, log_level="critical", timeout_graceful_shutdown=1
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> str:
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        return f"http://127.0.0.1:{self.port}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def door(seen: Seen) -> Iterator[str]:
    """A front door whose generator and trainer are up, whose retriever is down."""
    with (
        Served(upstream("generator", seen)) as generator,
        Served(upstream("trainer", seen)) as trainer,
        Served(
            create_app(
                {
                    "generator": generator,
                    "trainer": trainer,
                    "evaluator": generator,
                    "retriever": f"http://127.0.0.1:{free_port()}",
                }
            )
        ) as url,
    ):
        yield url


@pytest.fixture
def client(door: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=door, timeout=20, trust_env=False) as client:
        yield client


def test_it_answers_for_itself_on_healthz(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "service": "front-door"}


@pytest.mark.parametrize("path", ["/v1/models", "/v1/rag/x", "/v1/fine_tuning/jobs"])
def test_each_path_reaches_the_service_of_the_routing_table(
    client: httpx.Client, path: str
) -> None:
    assert client.get(path).json()["service"] == service_for(path)


def test_every_route_of_the_table_has_an_upstream_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FINEPROOF_PORT", "9100")
    mount = create_app().routes[-1]
    upstreams = mount.app._upstreams  # type: ignore[attr-defined]
    assert {service for _, service in ROUTES} == set(upstreams)
    assert upstreams["retriever"] == "http://127.0.0.1:9101"


def test_path_and_query_arrive_as_they_were_sent(client: httpx.Client) -> None:
    told = client.get("/v1/models/ft%3Abase%2Fx%3Asuffix?order=desc&a=%20b&a=2").json()
    assert told["path"] == "/v1/models/ft%3Abase%2Fx%3Asuffix"
    assert told["query"] == "order=desc&a=%20b&a=2"


def test_hop_by_hop_headers_stop_at_the_door_and_others_pass(client: httpx.Client) -> None:
    answer = client.get(
        "/v1/models",
        headers={"connection": "keep-alive, x-secret-hop", "x-secret-hop": "1", "x-mine": "2"},
    )
    sent = dict(answer.json()["headers"])
    assert "x-secret-hop" not in sent
    assert sent["x-mine"] == "2"
    assert sent["x-forwarded-for"] == "127.0.0.1"
    assert answer.headers["x-custom"] == "kept"
    assert "keep-alive" not in answer.headers


def test_an_event_arrives_before_the_next_one_exists(client: httpx.Client, seen: Seen) -> None:
    with client.stream("POST", "/v1/chat/completions", json={}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: one"
        assert not seen.go_on.is_set()
        seen.go_on.set()
        assert [line for line in lines if line] == ["data: two"]


def test_a_large_upload_streams_through_unchanged(client: httpx.Client, seen: Seen) -> None:
    block = bytes(range(256)) * 4096
    started_upstream = []

    def blocks() -> Iterator[bytes]:
        for index in range(64):
            if index == 32:
                started_upstream.append(seen.first_chunk.wait(10))
            yield block

    told = client.post("/v1/files", content=blocks()).json()
    assert started_upstream == [True]
    assert told["size"] == 64 * len(block)
    assert told["sha256"] == hashlib.sha256(block * 64).hexdigest()


def test_a_client_that_leaves_a_stream_closes_it_upstream(client: httpx.Client, seen: Seen) -> None:
    with client.stream("POST", "/v1/chat/completions", json={}) as answer:
        assert next(answer.iter_lines()) == "data: one"
    assert seen.closed.wait(10)


def test_a_client_that_leaves_before_the_answer_begins_stops_the_work(
    door: str, seen: Seen
) -> None:
    port = int(door.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /v1/chat/think HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
        )
        assert seen.first_chunk.wait(10)
    assert seen.closed.wait(10)


def test_a_client_that_leaves_in_an_upload_ends_it_upstream(door: str, seen: Seen) -> None:
    port = int(door.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(
            b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf"
        )
        assert seen.first_chunk.wait(10)
    assert seen.closed.wait(10)


def test_an_answer_given_before_the_upload_ended_comes_through(client: httpx.Client) -> None:
    answer = client.post("/v1/uploads", content=b"x" * 1000)
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "too_large"


def test_an_answer_that_breaks_off_does_not_look_whole(client: httpx.Client) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/v1/chat/break")


def test_a_service_that_is_down_is_503_in_the_openai_envelope(client: httpx.Client) -> None:
    answer = client.get("/v1/vector_stores")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["error"].keys() == {"message", "type", "code", "param"}
    assert answer.json()["error"]["code"] == "service_unavailable"


def test_the_stock_client_understands_that_a_service_is_down(door: str) -> None:
    with (
        openai.OpenAI(base_url=f"{door}/v1", api_key="none", max_retries=0) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.vector_stores.list()
    assert caught.value.code == "service_unavailable"


def test_a_foreign_host_name_is_refused(client: httpx.Client) -> None:
    answer = client.get("/v1/models", headers={"host": "attacker.example"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "foreign_host"
