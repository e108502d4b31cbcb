"""A run on a real vLLM through a real generator: asked, embedded and graded by the 135 M model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from fineproof.local.plan import embedder
from services.common.clients.generator import GeneratorClient
from services.evaluator.evals.running import run_eval
from services.evaluator.evals.schemas import Run
from services.evaluator.main import create_app
from services.evaluator.peers import Peers
from services.evaluator.settings import EvaluatorSettings
from services.generator.main import create_app as create_generator
from services.generator.settings import GeneratorSettings
from tests.services.evaluator.evals.conftest import Bench, evaluation, sampled
from tests.services.evaluator.evals.standins import World, connect
from tests.services.evaluator.evals.test_api import LABEL
from tests.services.evaluator.evals.test_grading import SCORE

if TYPE_CHECKING:
    from tests.vllm import VllmServer

pytestmark = pytest.mark.e2e

ALIKE = {
    "type": "text_similarity",
    "name": "meaning",
    "input": "{{sample.output_text}}",
    "reference": "{{item.question}}",
    "evaluation_metric": "cosine",
    "pass_threshold": 0.3,
}
ITEMS = [
    {"question": f"Name the capital of {country}.", "answer": capital}
    for country, capital in (("France", "Paris"), ("Italy", "Rome"), ("Norway", "Oslo"))
]


@pytest.fixture
def settings(settings: EvaluatorSettings) -> EvaluatorSettings:
    changes = {"embedding_model": str(embedder()), "answer_patience_s": 60.0}
    return settings.model_copy(update=changes)


@pytest.fixture
async def generator(
    database_url: str, storage_url: str, tmp_path: Path, vllm_server: "VllmServer"
) -> AsyncIterator[GeneratorClient]:
    app = create_generator(
        GeneratorSettings(
            mode="local",
            database_url=database_url,
            storage_url=storage_url,
            vllm_urls=(vllm_server.url,),
            base_model=vllm_server.model.name,
            base_model_path=str(vllm_server.model.folder),
            trainer_url="http://127.0.0.1:1",
            adapter_cache=tmp_path / "cache",
            warm_up=False,
        )
    )
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://localhost", timeout=300
        ) as http,
    ):
        await app.state.naming  # until then it is not ready
        yield GeneratorClient(http)


@pytest.fixture
async def bench(
    settings: EvaluatorSettings,
    world: World,
    generator: GeneratorClient,
    bench: Bench,
) -> AsyncIterator[Bench]:
    @asynccontextmanager
    async def to_real(_: EvaluatorSettings) -> AsyncIterator[Peers]:
        async with connect(world, settings) as peers:
            yield Peers(generator=generator, retriever=peers.retriever, trainer=peers.trainer)

    async def work(run_id: str) -> None:
        await run_eval(run_id, db=bench.db, settings=settings, connect=to_real)

    app = create_app(settings, connect=to_real)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        real = Bench(http, bench.db, settings, world)
        real.work = work  # type: ignore[method-assign]
        yield real


async def test_a_small_model_answers_and_grades_and_is_asked_once(
    bench: Bench, vllm_server: "VllmServer"
) -> None:
    model = vllm_server.model.name
    criteria = [ALIKE, LABEL | {"model": model}, SCORE | {"model": model}]
    eval_id = (await bench.post("", evaluation(testing_criteria=criteria)))["id"]

    async def ran() -> Run:
        source = {"data_source": sampled(model, ITEMS)}
        run = await bench.post(f"/{eval_id}/runs", source)
        await bench.work(run["id"])
        return Run.model_validate(await bench.get(f"/{eval_id}/runs/{run['id']}"))

    first = await ran()
    assert first.status == "completed", first.error
    assert first.result_counts.total == 3
    items = await bench.items(first)
    for item in items:
        meaning, label, score = item["results"]
        assert 0 <= meaning["score"] <= 1
        # Bound to its form, the smallest model says a label and a number on the scale.
        assert label["score"] in (0, 1), label
        assert 1 <= score["score"] <= 5, score
        assert item["sample"]["usage"]["completion_tokens"] > 0
    [usage] = first.per_model_usage
    assert (usage.model_name, usage.invocation_count) == (model, 9)

    again = await ran()
    assert again.result_counts == first.result_counts
    assert [each["results"] for each in await bench.items(again)] == [
        each["results"] for each in items
    ]
    [usage] = again.per_model_usage
    assert (usage.invocation_count, usage.cached_count) == (0, 9)
    ask = {"base_run": first.id, "tuned_run": again.id}
    compared = await bench.post(f"/{eval_id}/compare", ask, 200)
    assert {each["verdict"] for each in compared["criteria"]} == {"EQUIVALENT"}
