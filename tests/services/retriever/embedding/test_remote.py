"""Vectors from another server, which is up, away, busy, or wrong."""

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from starlette.responses import JSONResponse, Response

from services.common.errors import FineproofError, Unavailable, UpstreamFailed, UpstreamTimeout
from services.retriever.embedding import Embedder
from services.retriever.embedding.remote import RemoteModel
from services.retriever.settings import RetrieverSettings
from tests.conftest import free_port
from tests.services.retriever.conftest import MODEL, Retriever
from tests.services.retriever.embedding.server import (
    KEY,
    SIZE,
    EmbeddingServer,
    embedding_server,
    proper,
)


@pytest.fixture(scope="module")
def running(retriever: Retriever) -> Iterator[EmbeddingServer]:
    with embedding_server(retriever.embedder.embed) as server:
        yield server


@pytest.fixture
def server(running: EmbeddingServer) -> EmbeddingServer:
    running.size, running.answer = SIZE, proper
    running.asked.clear()
    return running


def settings(retriever: Retriever, url: str, **changed: Any) -> RetrieverSettings:
    values = retriever.settings.model_dump() | {
        "embedding_url": url,
        "embedding_key": KEY,
        "embedding_model": "small",
    }
    return RetrieverSettings(**values | changed)


def test_vectors_come_in_order_and_of_length_one(
    retriever: Retriever, server: EmbeddingServer
) -> None:
    model = RemoteModel(settings(retriever, f"{server.url}/", embedding_batch_size=2))
    texts = ["A cat sleeps.", "The ship left.", "Soup on Tuesdays."]
    vectors = model.embed(texts)
    assert model.dimensions == SIZE
    assert vectors.shape == (3, SIZE)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1)
    whole = retriever.embedder.embed(texts)[:, :SIZE]
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    assert vectors == pytest.approx(whole, abs=1e-5)
    assert [ask["input"] for ask in server.asked] == [["a"], texts[:2], texts[2:]]
    assert {ask["model"] for ask in server.asked} == {"small"}


def test_its_identity_is_its_name_and_address(
    retriever: Retriever, server: EmbeddingServer
) -> None:
    model = RemoteModel(settings(retriever, server.url))
    same = RemoteModel(settings(retriever, f"{server.url}/"))
    other = RemoteModel(settings(retriever, server.url, embedding_model="large"))
    assert model.identity == same.identity != other.identity


@pytest.mark.parametrize("tokenizer", [MODEL, None])
def test_no_text_is_sent_that_is_longer_than_the_model_reads(
    retriever: Retriever, server: EmbeddingServer, tokenizer: str | None
) -> None:
    limits = {"embedding_tokenizer": tokenizer, "embedding_max_tokens": 32}
    model = RemoteModel(settings(retriever, server.url, **limits))
    assert model.reads == 30
    model.embed(["Every crate was weighed twice. " * 50, "x" * 5_000, "short"])
    *long, short = server.asked[-1]["input"]
    assert short == "short"
    counted = retriever.embedder.words(long)
    assert all(0 < sum(word.tokens for word in words) <= 30 for words in counted)
    assert long[0].startswith("Every crate was weighed twice.")


def test_a_server_that_is_busy_for_a_moment_is_asked_again(
    retriever: Retriever, server: EmbeddingServer
) -> None:
    model = RemoteModel(settings(retriever, server.url))
    busy = [503, 429]
    server.answer = lambda body: Response(status_code=busy.pop()) if busy else proper(body)
    assert model.embed(["a"]).shape == (1, SIZE)
    assert len(server.asked) == 4


def test_a_server_that_stays_away_is_unavailable(
    retriever: Retriever, server: EmbeddingServer
) -> None:
    model = RemoteModel(settings(retriever, server.url))
    server.answer = lambda _: Response("overloaded", status_code=500)
    with pytest.raises(Unavailable, match="answered 500: overloaded") as caught:
        model.embed(["a"])
    assert caught.value.headers == {"Retry-After": "2"}
    with pytest.raises(Unavailable, match="cannot be reached"):
        RemoteModel(settings(retriever, f"http://127.0.0.1:{free_port()}/v1"))


def test_a_server_that_hangs_is_given_up(retriever: Retriever, server: EmbeddingServer) -> None:
    model = RemoteModel(settings(retriever, server.url, embedding_timeout_s=0.5))
    server.answer = lambda body: (time.sleep(1), proper(body))[1]
    with pytest.raises(UpstreamTimeout):
        model.embed(["a"])


def _changed(body: dict[str, Any], vector: Any) -> Response:
    body["data"][0]["embedding"] = vector
    return JSONResponse(body)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda body: JSONResponse(body | {"data": body["data"][:1]}), "1 vectors for 2"),
        (lambda body: JSONResponse(body | {"data": body["data"][:1] * 2}), "2 vectors for 2"),
        (lambda body: _changed(body, [0.0] * SIZE), "without a direction"),
        (lambda body: _changed(body, [None] * SIZE), "not its vectors' JSON"),
        (lambda body: _changed(body, [1e200] * SIZE), "without a direction"),
        (lambda body: _changed(body, [1.0]), "different dimensions"),
        (
            lambda _: Response(
                '{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1.0]}]}'
            ),
            "without a direction",
        ),
        (lambda _: Response("<html>"), "not its vectors' JSON"),
        (lambda _: Response("no such model", status_code=404), "404: no such model"),
    ],
)
def test_what_are_no_vectors_is_refused(
    retriever: Retriever, server: EmbeddingServer, answer: Any, said: str
) -> None:
    model = RemoteModel(settings(retriever, server.url))
    server.answer = answer
    with pytest.raises(UpstreamFailed, match=said):
        model.embed(["a", "b"])


def test_a_model_that_changes_its_size_is_refused(
    retriever: Retriever, server: EmbeddingServer
) -> None:
    model = RemoteModel(settings(retriever, server.url))
    server.size = SIZE + 1
    with pytest.raises(UpstreamFailed, match="49 dimensions after 48"):
        model.embed(["a"])


def test_a_model_too_large_for_an_index_is_refused(
    retriever: Retriever, server: EmbeddingServer
) -> None:
    server.size = 4_001
    embedder = Embedder.from_settings(settings(retriever, server.url), threads=1)
    with pytest.raises(ValueError, match="4,001 dimensions, and no more than 4,000"):
        embedder.load()


def test_a_wrong_key_is_named_and_not_shown(retriever: Retriever, server: EmbeddingServer) -> None:
    with pytest.raises(FineproofError, match="401") as caught:
        RemoteModel(settings(retriever, server.url, embedding_key="sk-wrong"))
    assert "sk-wrong" not in caught.value.message


def test_a_server_that_comes_late_is_waited_for(
    retriever: Retriever, server: EmbeddingServer
) -> None:
    away = [True]
    server.answer = lambda body: Response(status_code=503) if away else proper(body)
    embedder = Embedder.from_settings(settings(retriever, server.url), threads=1)
    embedder.load_in_background()
    try:
        while True:
            with pytest.raises(Unavailable) as caught:
                embedder.check()
            if "cannot be loaded yet" in caught.value.message:
                break
            time.sleep(0.01)
        away.clear()
        while not embedder.is_loaded:
            time.sleep(0.01)
        assert embedder.dimensions == SIZE
    finally:
        embedder.close()
