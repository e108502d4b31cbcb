"""An evaluator with evals in it, and a worker that is called by hand."""

from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import httpx
import openai
import pytest
from fastapi import FastAPI
from sqlalchemy import create_engine, make_url, text

from services.common.db import Database, migrate
from services.common.ids import new_id
from services.evaluator.evals.running import run_eval
from services.evaluator.evals.schemas import Run
from services.evaluator.main import MIGRATIONS, create_app
from services.evaluator.settings import EvaluatorSettings
from tests.services.evaluator.evals.standins import BASE, World, connect

ITEMS = [{"question": f"{n} and {n}?", "answer": f"{n + n}"} for n in range(1, 7)]
SCHEMA = {
    "type": "object",
    "properties": {"question": {"type": "string"}, "answer": {"type": "string"}},
    "required": ["question", "answer"],
}
CUSTOM = {"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True}
EXACT = {
    "type": "string_check",
    "name": "exact",
    "input": "{{sample.output_text}}",
    "reference": "{{item.answer}}",
    "operation": "eq",
}


def adds_up(body: dict[str, Any]) -> str:
    """Adds what the question names, but never gets beyond ten."""
    first = int(str(body["messages"][-1]["content"]).split()[0])
    return str(min(10, 2 * first))


def evaluation(**changes: Any) -> dict[str, Any]:
    return {"name": "sums", "data_source_config": CUSTOM, "testing_criteria": [EXACT]} | changes


def sampled(model: str = BASE, items: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "type": "completions",
        "model": model,
        "source": {
            "type": "file_content",
            "content": [{"item": item} for item in (ITEMS if items is None else items)],
        },
        "input_messages": {
            "type": "template",
            "template": [
                {"role": "developer", "content": "Add."},
                {"role": "user", "content": "{{item.question}}"},
            ],
        },
        "sampling_params": {"temperature": 0, "seed": 1, "max_completion_tokens": 8},
    }


def given(*pairs: tuple[dict[str, Any], str]) -> dict[str, Any]:
    """Answers given elsewhere."""
    content = [{"item": item, "sample": {"output_text": text}} for item, text in pairs]
    return {"type": "jsonl", "source": {"type": "file_content", "content": content}}


@pytest.fixture(scope="session")
def migrated(postgres_url: str) -> str:
    """The name of a database with the evaluator's tables, to copy."""
    name = new_id("migrated")
    with create_engine(postgres_url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f'create database "{name}"'))
    url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    migrate(url, schema="evaluator", migrations=MIGRATIONS)
    return name


@pytest.fixture
def database_url(postgres_url: str, migrated: str) -> Iterator[str]:
    name = new_id("test")
    admin = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f'create database "{name}" template "{migrated}"'))
    yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(text(f'drop database "{name}" with (force)'))
    admin.dispose()


@pytest.fixture
def world() -> World:
    return World(speak=adds_up)


@pytest.fixture
async def app(settings: EvaluatorSettings, world: World) -> AsyncIterator[FastAPI]:
    application = create_app(settings, connect=partial(connect, world))
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
async def client(http: httpx.AsyncClient) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(
        base_url="http://localhost/v1",
        api_key="none",
        max_retries=0,
        http_client=http,  # type: ignore[arg-type]
    )


class Bench:
    """Asks over HTTP, and works as a worker would."""

    def __init__(
        self, http: httpx.AsyncClient, db: Database, settings: EvaluatorSettings, world: World
    ) -> None:
        self.http = http
        self.db = db
        self.settings = settings
        self.world = world

    async def post(self, path: str, body: dict[str, Any], status: int = 201) -> dict[str, Any]:
        response = await self.http.post(f"/v1/evals{path}", json=body)
        assert response.status_code == status, response.text
        return dict(response.json())

    async def get(self, path: str) -> dict[str, Any]:
        response = await self.http.get(f"/v1/evals{path}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    async def refused(self, path: str, body: dict[str, Any], status: int = 400) -> dict[str, Any]:
        return dict((await self.post(path, body, status))["error"])

    async def work(self, run_id: str) -> None:
        await run_eval(
            run_id, db=self.db, settings=self.settings, connect=partial(connect, self.world)
        )

    async def start(self, data_source: dict[str, Any], **changes: Any) -> tuple[str, str]:
        eval_id = (await self.post("", evaluation(**changes)))["id"]
        run = await self.post(f"/{eval_id}/runs", {"data_source": data_source})
        return eval_id, run["id"]

    async def finish(self, data_source: dict[str, Any], **changes: Any) -> Run:
        eval_id, run_id = await self.start(data_source, **changes)
        await self.work(run_id)
        return Run.model_validate(await self.get(f"/{eval_id}/runs/{run_id}"))

    async def items(self, run: Run, **query: str) -> list[dict[str, Any]]:
        response = await self.http.get(
            f"/v1/evals/{run.eval_id}/runs/{run.id}/output_items", params={"limit": 100, **query}
        )
        return list(response.json()["data"])


@pytest.fixture
def bench(
    http: httpx.AsyncClient, db: Database, settings: EvaluatorSettings, world: World
) -> Bench:
    return Bench(http, db, settings, world)
