"""The generator's client against the real application."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.common.clients.generator import GeneratorClient
from services.common.contracts.aliases import AliasCreate
from services.common.contracts.generator import GivenPassage, RagAnswer, RagAsk, StreamOptions
from services.common.contracts.rag_events import RagDelta, RagPassages
from services.common.errors import FineproofError, NotFound, Unavailable
from services.generator.main import create_app
from services.generator.settings import GeneratorSettings
from tests.services.generator.conftest import BASE, serving
from tests.services.generator.registry import Registry
from tests.services.generator.tiny import tiny_adapter, tiny_base
from tests.services.generator.upstream import Upstream

NAME = f"ft:{BASE}:demo:ftjob-1"


@pytest.fixture
def upstream() -> Upstream:
    return Upstream(BASE)


@pytest.fixture
async def client(
    upstream: Upstream, database_url: str, storage_url: str, tmp_path: Path
) -> AsyncIterator[GeneratorClient]:
    registry = Registry(database_url, storage_url)
    with serving(upstream.app) as vllm_url, serving(registry.app) as trainer_url:
        registry.add(NAME, tiny_adapter(tmp_path / "adapter", base_model=BASE), base_model=BASE)
        settings = GeneratorSettings(
            mode="local",
            database_url=database_url,
            storage_url=storage_url,
            vllm_urls=[vllm_url],
            trainer_url=trainer_url,
            base_model=BASE,
            base_model_path=str(tiny_base(tmp_path / "base")),
            adapter_cache=tmp_path / "cache",
        )
        app = create_app(settings)
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
        ):
            yield GeneratorClient(http)


async def test_an_adapter_is_loaded_shown_and_listed(client: GeneratorClient) -> None:
    loaded = await client.load_adapter(NAME)
    assert loaded.status == "loaded"
    assert loaded.proof is not None
    assert loaded.proof.max_abs_logprob_delta > 0
    assert await client.adapter(NAME) == loaded
    assert (await client.adapters()).data == [loaded]
    assert [model.id for model in (await client.models()).data] == [BASE, NAME]


async def test_an_alias_is_set_and_listed(client: GeneratorClient) -> None:
    alias = await client.set_alias(AliasCreate(name="ft:live", adapter=NAME))
    assert (alias.id, alias.adapter, alias.gate) == ("ft:live", NAME, None)
    assert await client.set_alias(AliasCreate(name="ft:live", adapter=NAME)) == alias
    assert (await client.aliases()).data == [alias]


async def test_an_adapter_nobody_trained_is_not_found(client: GeneratorClient) -> None:
    with pytest.raises(NotFound) as caught:
        await client.load_adapter("ft:a:b:c")
    assert caught.value.code == "adapter_not_found"
    with pytest.raises(NotFound):
        await client.adapter("ft:a:b:c")


async def test_a_refusal_keeps_its_code(client: GeneratorClient, upstream: Upstream) -> None:
    upstream.fault = "serves_base"
    with pytest.raises(FineproofError) as caught:
        await client.load_adapter(NAME)
    assert (caught.value.status, caught.value.code) == (422, "adapter_no_effect")


async def test_a_question_is_answered_with_citations(
    client: GeneratorClient, upstream: Upstream
) -> None:
    upstream.text = ("kept for", " 47 days")
    passage = GivenPassage(id="p1", text="Logs are kept for 47 days.", title="Logs", score=0.1)
    ask = RagAsk(question="How long?", condition="oracle", passages=[passage], model=NAME)
    answer = await client.rag(ask)
    assert answer.answer == "kept for 47 days"
    assert [citation.quote for citation in answer.citations] == ["kept for 47 days"]
    assert answer.passages[0].score == 0.1
    assert answer.adapter_sha256 == (await client.adapter(NAME)).sha256


async def test_an_answer_is_heard_as_it_is_said(
    client: GeneratorClient, upstream: Upstream
) -> None:
    upstream.text = ("kept\u2028for", " 47 days")  # a line's end to some, and none of JSON's
    passage = GivenPassage(id="p1", text="Logs are kept for 47 days.", title="Logs")
    ask = RagAsk(question="How long?", condition="oracle", passages=[passage])
    passages, *said, whole = [event async for event in client.rag_events(ask)]
    assert isinstance(passages, RagPassages)
    assert [passage.id for passage in passages.passages] == ["p1"]
    assert "".join(event.delta for event in said if isinstance(event, RagDelta)) == (
        "kept\u2028for 47 days"
    )
    assert isinstance(whole, RagAnswer)
    assert whole.answer == "kept\u2028for 47 days"
    options = StreamOptions(include_usage=True)
    counted = ask.model_copy(update={"stream": True, "stream_options": options})
    assert [event async for event in client.rag_events(counted)][-1].object == "rag.usage"


async def test_a_stream_that_ends_in_an_error_raises_it(
    client: GeneratorClient, upstream: Upstream
) -> None:
    ask = RagAsk(question="How long?", condition="closed_book")
    upstream.fault = "malformed"
    with pytest.raises(FineproofError) as caught:
        [event async for event in client.rag_events(ask)]
    assert caught.value.code == "model_server_malformed"
    with pytest.raises(NotFound):
        [event async for event in client.rag_events(ask.model_copy(update={"model": "nobody"}))]


@pytest.mark.parametrize(
    ("stream", "code"),
    [
        ('event: rag.news\ndata: {"object": "rag.news"}\n\n', "generator_broke_off"),
        ('data: {"object": "rag.del', "unreadable_answer"),
        ('data: {"object": "rag.delta", "id": 1}\n\n', "unreadable_answer"),
        ("data: 3\n\n", "unreadable_answer"),
    ],
)
async def test_a_stream_without_an_end_is_no_answer(stream: str, code: str) -> None:
    ask = RagAsk(question="How long?", condition="closed_book")
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=stream))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        with pytest.raises(FineproofError) as caught:
            [event async for event in GeneratorClient(http).rag_events(ask)]
    assert caught.value.code == code


async def test_a_model_server_away_is_told_apart(
    client: GeneratorClient, upstream: Upstream
) -> None:
    ask = RagAsk(question="How long?", condition="closed_book")
    upstream.fault = "broken"
    with pytest.raises(FineproofError) as caught:
        await client.rag(ask)
    assert not isinstance(caught.value, Unavailable)
    assert caught.value.code == "model_server_failed"
