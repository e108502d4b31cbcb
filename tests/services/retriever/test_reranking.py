"""Results in the order of a cross-encoder: a small one with weights by chance, saved as any is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sentence_transformers import CrossEncoder
from torch import manual_seed
from torch.nn import Sigmoid
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from services.common.contracts.retriever import SearchAsk
from services.common.db import Reader
from services.retriever.embedding import Reranker
from services.retriever.main import create_app
from services.retriever.searching import Searches
from tests.conftest import free_port
from tests.services.common.conftest import line
from tests.services.retriever.conftest import MODEL, Retriever, serving

SHELF = [
    {"id": "cat", "text": "A cat sleeps on the warm windowsill."},
    {"id": "ship", "title": "Log", "text": "The cargo vessel left the harbour at dawn."},
    {"id": "code", "text": "Valve ZX-4411 must be replaced every nine months."},
    {"id": "soup", "title": "Canteen", "text": "Tomato soup is served on Tuesdays."},
    {"id": "long", "text": "Every crate was weighed twice. " * 200},
]
TEXTS = {one["id"]: f"{one.get('title', '')}\n{one['text']}".strip() for one in SHELF}
QUERY = "Which valve is replaced?"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_cross_encoder(tmp_path_factory.mktemp("reranker"), labels=1)


def save_cross_encoder(folder: Path, *, labels: int) -> str:
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.5,
        num_labels=labels,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def reranking(retriever: Retriever, model: str) -> Iterator[httpx.Client]:
    settings = retriever.settings.model_copy(update={"reranking_model": model})
    with (
        serving(create_app(settings), free_port()) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        yield http


@pytest.fixture(scope="module")
def shelf(retriever: Retriever) -> str:
    return retriever.fill(SHELF)


def found(http: httpx.Client, store_id: str, **ask: Any) -> dict[str, Any]:
    response = http.post(f"/v1/vector_stores/{store_id}/search", json={"query": QUERY} | ask)
    assert response.status_code == 200, response.text
    return dict(response.json())


def scores(page: dict[str, Any]) -> dict[str, float]:
    return {hit["passage_id"]: hit["score"] for hit in page["data"]}


def expected(model: str, query: str) -> dict[str, float]:
    """What sentence-transformers itself says."""
    predicted = CrossEncoder(model).predict(
        [(query, text) for text in TEXTS.values()], activation_fn=Sigmoid()
    )
    pairs = zip(TEXTS, predicted.tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


@pytest.mark.parametrize("ranker", ["auto", "default-2024-11-15", "cross-encoder"])
def test_results_are_in_the_order_of_the_model(
    reranking: httpx.Client, model: str, shelf: str, ranker: str
) -> None:
    told = scores(found(reranking, shelf, ranking_options={"ranker": ranker}))
    assert told == pytest.approx(expected(model, QUERY), abs=1e-5)
    assert list(told) == list(expected(model, QUERY))
    assert len({round(score, 3) for score in told.values()}) > 2


def test_none_leaves_the_order_as_it_was(
    reranking: httpx.Client, retriever: Retriever, shelf: str
) -> None:
    plain = found(retriever.http, shelf)
    assert found(reranking, shelf, ranking_options={"ranker": "none"})["data"] == plain["data"]


def test_the_stage_is_explained_beside_those_before_it(
    reranking: httpx.Client, model: str, shelf: str
) -> None:
    page = found(reranking, shelf, explain=True)
    assert [one["stage"] for one in page["stages"]] == [
        "embed",
        "vector",
        "text",
        "merge",
        "read",
        "rerank",
    ]
    places = [
        place for hit in page["data"] for place in hit["placements"] if place["stage"] == "rerank"
    ]
    assert [place["rank"] for place in places] == [1, 2, 3, 4, 5]
    assert [place["score"] for place in places] == pytest.approx(
        list(expected(model, QUERY).values()), abs=1e-5
    )
    before = [place["rank"] for hit in page["data"] for place in hit["placements"][:1]]
    assert sorted(before) == [1, 2, 3, 4, 5]


def test_of_several_queries_the_best_score_counts(
    reranking: httpx.Client, model: str, shelf: str
) -> None:
    queries = [QUERY, "soup"]
    told = scores(found(reranking, shelf, query=queries))
    each = [expected(model, query) for query in queries]
    best = {key: max(scored[key] for scored in each) for key in TEXTS}
    assert told == pytest.approx(best, abs=1e-5)


def test_a_threshold_is_the_models_scale(reranking: httpx.Client, model: str, shelf: str) -> None:
    ranked = list(expected(model, QUERY).items())
    between = (ranked[1][1] + ranked[2][1]) / 2
    told = scores(found(reranking, shelf, ranking_options={"score_threshold": between}))
    assert list(told) == [key for key, _ in ranked[:2]]


def test_a_batch_is_reranked_as_single_searches_are(reranking: httpx.Client, shelf: str) -> None:
    queries = [QUERY, "soup"]
    ask = {"queries": [{"query": query} for query in queries], "max_num_results": 3}
    batch = reranking.post(f"/v1/vector_stores/{shelf}/search/batch", json=ask).json()["data"]
    singles = [found(reranking, shelf, query=query, max_num_results=3) for query in queries]
    assert [[hit["passage_id"] for hit in hits] for hits in batch] == [
        list(scores(single)) for single in singles
    ]


def test_more_is_read_than_is_asked_for_in_mode_vector_too(
    reranking: httpx.Client, model: str, shelf: str
) -> None:
    for query in (QUERY, "soup", "cat"):
        told = scores(found(reranking, shelf, query=query, mode="vector", max_num_results=1))
        assert list(told) == list(expected(model, query))[:1]


def test_a_vector_alone_has_no_words_to_rerank_by(
    reranking: httpx.Client, retriever: Retriever, model: str, shelf: str
) -> None:
    ask = {"vector": retriever.embedder.embed(["soup"])[0].tolist()}
    wordless = {"query": None, "mode": "vector", **ask}
    assert (
        found(reranking, shelf, **wordless)["data"]
        == (found(retriever.http, shelf, **wordless)["data"])
    )
    assert scores(found(reranking, shelf, **ask)) == pytest.approx(expected(model, QUERY), abs=1e-5)
    url = f"/v1/vector_stores/{shelf}/search"
    batch = {"queries": [ask, {"query": QUERY}], "mode": "vector"}
    by_vector, by_words = reranking.post(f"{url}/batch", json=batch).json()["data"]
    assert by_vector[0]["passage_id"] == "soup"
    assert [hit["passage_id"] for hit in by_words] == list(expected(model, QUERY))
    insisting = {"ranking_options": {"ranker": "cross-encoder"}}
    for path, body in ((url, wordless), (f"{url}/batch", batch)):
        refused = reranking.post(path, json=body | insisting)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "query")


def test_an_empty_store_has_nothing_to_rerank(
    reranking: httpx.Client, retriever: Retriever
) -> None:
    assert found(reranking, retriever.store())["data"] == []


def test_without_a_model_who_insists_is_told_how_to_have_one(
    retriever: Retriever, shelf: str
) -> None:
    insisting = {"query": "x", "ranking_options": {"ranker": "cross-encoder"}}
    refused = retriever.http.post(f"/v1/vector_stores/{shelf}/search", json=insisting)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "no_reranking_model")
    assert "FINEPROOF_RETRIEVER_RERANKING_MODEL" in error["message"]


async def test_no_connection_is_held_while_the_model_computes(
    retriever: Retriever, shelf: str
) -> None:
    held: list[int] = []
    reader = Reader(retriever.settings.database_url)

    class Watching:
        def scores(self, query: str, texts: Any) -> list[float]:
            held.append(reader._on_loop.pool.checkedout())
            return [0.5] * len(texts)

    reranker = Reranker(Watching, depth=50)
    reranker.load()
    searches = Searches(reader, retriever.embedder, reranker, line=line(), at_once=1)
    page = await searches.search(shelf, SearchAsk(query=QUERY))
    await searches.aclose()
    assert held == [0]
    assert len(page.data) == len(SHELF)


def test_a_model_of_several_labels_is_refused(retriever: Retriever, tmp_path: Path) -> None:
    folder = save_cross_encoder(tmp_path, labels=3)
    settings = retriever.settings.model_copy(update={"reranking_model": folder})
    reranker = Reranker.from_settings(settings, threads=1)
    assert reranker is not None
    with pytest.raises(ValueError, match="3 numbers instead of one"):
        reranker.load()
