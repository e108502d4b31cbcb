"""A stand-in for the Hugging Face hub: the three routes that a download asks, over real HTTP.

The hub itself cannot be reached where tests run. Its client, which is what is tested, is the real
one.
"""

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

COMMIT = "c0ffee" * 6 + "c0ff"


@dataclass
class Hub:
    """Files ``withheld`` are listed, but refused to whoever asks for their content."""

    model: str
    files: dict[str, bytes]
    withheld: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def application(self) -> Starlette:
        return Starlette(
            routes=[
                Route(f"/api/models/{self.model}/revision/{{revision}}", self.head),
                Route(f"/api/models/{self.model}/tree/{{revision}}", self.tree),
                Route(
                    f"/{self.model}/resolve/{{revision}}/{{name:path}}",
                    self.content,
                    methods=["GET", "HEAD"],
                ),
            ]
        )

    async def head(self, _: Request) -> Response:
        return JSONResponse({"id": self.model, "sha": COMMIT, "siblings": []})

    async def tree(self, _: Request) -> Response:
        return JSONResponse(
            [
                {"type": "file", "path": name, "size": len(content), "oid": sha256(content)[:40]}
                for name, content in self.files.items()
            ]
        )

    async def content(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in self.files:
            return Response(status_code=404, headers={"X-Error-Code": "EntryNotFound"})
        if name in self.withheld:
            return Response(status_code=403)
        whole = self.files[name]
        if request.method == "GET":
            self.asked.append(name)
        headers = {"ETag": f'"{sha256(whole)}"', "X-Repo-Commit": COMMIT}
        return Response(whole, headers=headers)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@contextmanager
def serving(hub: Hub) -> Iterator[Hub]:
    config = uvicorn.Config(hub.application(), port=0, log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    hub.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield hub
    finally:
        server.should_exit = True
        thread.join(10)
