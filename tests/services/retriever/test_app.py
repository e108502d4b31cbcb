"""What stands round the routes: keys, readiness, migrations, settings."""

import asyncio
import hashlib
import sys
from pathlib import Path
from subprocess import run

import httpx
import pytest
from pydantic import ValidationError

from services.common.settings import ApiKey
from services.retriever.main import create_app
from services.retriever.models import Base
from services.retriever.settings import RetrieverSettings
from tests.migrations import assert_migrated
from tests.services.retriever.conftest import Retriever


def key(name: str, *scopes: str) -> ApiKey:
    digest = hashlib.sha256(name.encode()).hexdigest()
    return ApiKey.model_validate({"name": name, "sha256": digest, "scopes": scopes})


async def test_production_asks_for_a_key_and_its_scope(
    retriever_settings: RetrieverSettings,
) -> None:
    settings = retriever_settings.model_copy(
        update={"mode": "production", "api_keys": (key("reader", "read"), key("writer", "write"))}
    )
    app = create_app(settings)
    reader, writer = ({"Authorization": f"Bearer {name}"} for name in ("reader", "writer"))
    stores = "/v1/vector_stores"
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        assert (await http.get("/healthz")).status_code == 200
        for path in (stores, "/metrics", "/docs", "/openapi.json", f"{stores}/x/passages/y"):
            assert (await http.get(path)).status_code == 401
        assert (await http.post(stores, json={})).status_code == 401
        assert (await http.post(stores, json={}, headers=reader)).status_code == 403
        assert (await http.get(stores, headers=reader)).status_code == 200
        made = await http.post(stores, json={}, headers=writer)
        assert made.status_code == 200
        here = f"{stores}/{made.json()['id']}"
        got = await http.post(f"{here}/passages/get", json={"ids": ["a"]}, headers=reader)
        assert got.json()["missing"] == ["a"]
        line = b'{"id":"a","text":"x"}'
        sent = await http.post(f"{here}/passages", content=line, headers=reader)
        assert sent.status_code == 403
        await asyncio.to_thread(app.state.embedder.load)
        for path in ("search", "search/batch"):
            ask = {"query": "x"} if path == "search" else {"queries": [{"query": "x"}]}
            assert (await http.post(f"{here}/{path}", json=ask, headers=reader)).status_code == 200
        audited = await http.post(f"{here}/audit", json={}, headers=reader)
        assert audited.json()["error"]["code"] == "empty"
        for path in ("files", "file_batches", "ingestions", "passages/delete"):
            changed = await http.post(f"{here}/{path}", json={"file_id": "x"}, headers=reader)
            assert changed.status_code == 403


async def test_without_its_model_the_service_is_not_ready_and_says_why(
    retriever_settings: RetrieverSettings, tmp_path: Path
) -> None:
    missing = str(tmp_path / "no-such-model")
    app = create_app(retriever_settings.model_copy(update={"embedding_model": missing}))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        while "cannot be loaded" not in (response := await http.get("/readyz")).text:
            assert response.json()["error"]["code"] == "not_ready"
            await asyncio.sleep(0.05)
        assert response.status_code == 503
        assert "no-such-model" in response.json()["error"]["message"]
        store = (await http.post("/v1/vector_stores", json={})).json()["id"]
        ask = {"query": "x", "mode": "vector"}
        refused = await http.post(f"/v1/vector_stores/{store}/search", json=ask)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
        # What a worker embeds can wait for it; a vector that came along has nothing to fit.
        for line, status in (
            (b'{"id":"a","text":"x"}', 202),
            (b'{"id":"b","text":"x","embedding":[1]}', 503),
        ):
            sent = await http.post(f"/v1/vector_stores/{store}/passages", content=line)
            assert sent.status_code == status, sent.text
        got = await http.post(f"/v1/vector_stores/{store}/passages/get", json={"ids": ["a", "b"]})
        assert got.json()["missing"] == ["b"]


async def test_with_all_places_taken_searches_are_429_and_the_rest_goes_on(
    retriever_settings: RetrieverSettings,
) -> None:
    few = {"max_concurrent_searches": 1, "max_waiting_searches": 0}
    app = create_app(retriever_settings.model_copy(update=few))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        store = (await http.post("/v1/vector_stores", json={})).json()["id"]
        here = f"/v1/vector_stores/{store}"
        ask = {"query": "x", "mode": "text"}
        asks = {"search": ask, "search/batch": {"queries": [{"query": "x"}]}, "audit": {}}
        async with app.state.searches.line.place("another"):
            for path, body in asks.items():
                refused = await http.post(f"{here}/{path}", json=body)
                assert refused.status_code == 429
                assert refused.json()["error"]["type"] == "rate_limit_error"
                assert int(refused.headers["retry-after"]) >= 1
            assert (await http.get("/healthz")).status_code == 200
            assert (await http.post(here, json={"name": "renamed"})).status_code == 200
        assert (await http.post(f"{here}/search", json=ask)).status_code == 200
        metrics = (await http.get("/metrics")).text
        assert 'fineproof_retriever_refused_total{reason="line_full"} 3.0' in metrics


async def test_searches_stand_in_line_under_their_key_s_name(
    retriever_settings: RetrieverSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tuple(key(name, "read", "write") for name in ("ann", "ben"))
    app = create_app(retriever_settings.model_copy(update={"mode": "production", "api_keys": keys}))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        line, stood = app.state.searches.line, list[str]()
        place = line.place
        monkeypatch.setattr(line, "place", lambda name: stood.append(name) or place(name))
        for name in ("ann", "ben"):
            http.headers["Authorization"] = f"Bearer {name}"
            store = (await http.post("/v1/vector_stores", json={})).json()["id"]
            ask = {"query": "x", "mode": "text"}
            found = await http.post(f"/v1/vector_stores/{store}/search", json=ask)
            assert found.status_code == 200, found.text
        assert stood == ["ann", "ben"]


async def test_without_the_trainer_files_are_put_off_and_the_rest_goes_on(
    retriever_settings: RetrieverSettings,
) -> None:
    app = create_app(retriever_settings.model_copy(update={"trainer_url": "http://127.0.0.1:9"}))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http,
    ):
        store = (await http.post("/v1/vector_stores", json={})).json()["id"]
        ask = {"file_id": "file_a"}
        refused = await http.post(f"/v1/vector_stores/{store}/files", json=ask)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert "trainer cannot be reached" in refused.json()["error"]["message"]


def test_the_migrations_build_the_tables_the_code_describes(retriever: Retriever) -> None:
    assert_migrated(retriever.db.engine, Base.metadata, besides=r"ix_passage_vectors_embedding_\d+")


def test_importing_the_application_does_no_work() -> None:
    code = (
        "import sys, services.retriever.main, services.retriever.worker; "
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    done = run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_unknown_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FINEPROOF_RETRIEVER_EMBEDING_MODEL", "x")
    with pytest.raises(ValidationError, match="EMBEDING_MODEL"):
        RetrieverSettings(mode="local", database_url="x", embedding_model="x")
