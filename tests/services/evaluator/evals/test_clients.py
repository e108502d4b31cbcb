"""OpenAI's own clients, the newest and the oldest that must work, walk all of ``/v1/evals``."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from services.common.leases import unclaimed
from services.evaluator.evals.models import RunRow
from services.evaluator.evals.storage import ACTIVE
from tests.clients import OLD, old_client, walked
from tests.services.evaluator.evals.conftest import Bench
from tests.services.evaluator.evals.standins import BASE, last_words

WALK = Path(__file__).parent / "walk.py"
GUIDE = Path(__file__).parents[4] / "docs/guides/evals.md"


@contextlib.asynccontextmanager
async def listening(app: FastAPI) -> AsyncIterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
        serving = asyncio.create_task(server.serve([bound]))
        try:
            yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        finally:
            server.should_exit = True
            await serving


@contextlib.contextmanager
def working(bench: Bench) -> Iterator[None]:
    """Take up what waits, as the worker's sweeper does, in a thread: a worker is no part of the
    server's event loop."""
    stop = threading.Event()

    def sweep() -> None:
        while not stop.wait(0.05):
            with bench.db.transaction() as session:
                waiting = unclaimed(session, RunRow, statuses=ACTIVE)
            for run_id in waiting:
                asyncio.run(bench.work(run_id))

    with ThreadPoolExecutor(1) as pool:
        sweeping = pool.submit(sweep)
        try:
            yield
        finally:
            stop.set()
            sweeping.result()


@pytest.mark.parametrize("client", ["installed", "old"])
async def test_a_stock_client_walks_the_whole_surface(
    bench: Bench, app: FastAPI, client: str
) -> None:
    def speak(body: dict[str, object]) -> str:
        form = body.get("response_format")
        if form is None:
            return last_words(body)
        return '{"label": "yes"}' if "label" in str(form) else '{"score": 3}'

    bench.world.speak = speak
    path, expected = (old_client(), OLD) if client == "old" else (None, version("openai"))
    with working(bench):
        async with listening(app) as url:
            said = await asyncio.to_thread(walked, WALK, url, BASE, path=path)
    assert said == expected


async def test_the_guide_does_what_it_says(bench: Bench, app: FastAPI, tmp_path: Path) -> None:
    bench.world.speak = lambda body: str(2 * int(last_words(body).split()[0]))
    code = GUIDE.read_text().split("```python")[1].split("```")[0]
    # The front door's other half lists the models.
    code = code.replace("client.models.list().data[0].id", repr(BASE))
    with working(bench):
        async with listening(app) as url:
            script = tmp_path / "guide.py"
            script.write_text(code.replace("http://localhost:8000", url))
            said = await asyncio.to_thread(walked, script)
    assert said.startswith("completed ResultCounts(errored=0, failed=0, passed=10, total=10)")
