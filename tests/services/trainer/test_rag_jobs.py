"""Whole jobs of recipes ``rag`` and ``raft``."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import openai
import pytest

from services.trainer.running.attempt import Workshop
from services.trainer.settings import TrainerSettings
from tests.conftest import free_port
from tests.services.retriever.conftest import Retriever
from tests.services.trainer.conftest import BASE, fine_tune, pairs

Upload = Callable[..., str]


@pytest.fixture
def settings(settings: TrainerSettings, retriever: Retriever) -> TrainerSettings:
    return settings.model_copy(update={"retriever_url": retriever.url})


def create(client: openai.OpenAI, file_id: str, store_id: str, recipe: str = "rag") -> str:
    hyperparameters = {
        "recipe": recipe,
        "retrieval": {"vector_store_id": store_id, "max_num_results": 2},
        "learning_rate": 0.01,
    }
    return client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file_id,
        method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},  # type: ignore[typeddict-item]
    ).id


def test_a_rag_job_trains_on_prompts_it_keeps(
    client: openai.OpenAI,
    upload: Upload,
    workshop: Workshop,
    retriever: Retriever,
) -> None:
    store_id = retriever.fill({"id": f"p{n}", "text": f"{n} and {n} is {2 * n}"} for n in range(10))
    rows = [row | {"evidence_ids": [f"p{n}"]} for n, row in enumerate(pairs(10))]
    job_id = create(client, upload(rows), store_id)
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model == f"ft:{BASE}:rag:{job_id}"
    kept = workshop.store.read_bytes(f"jobs/{job_id}/train.jsonl").splitlines()
    for n, line in enumerate(kept):
        rendered = json.loads(line)
        assert f"p{n}" in rendered["passage_ids"]
        assert f"{n} and {n} is {2 * n}" in rendered["prompt"][-1]["content"]


def test_a_raft_job_learns_to_quote(
    client: openai.OpenAI,
    upload: Upload,
    workshop: Workshop,
    retriever: Retriever,
) -> None:
    store_id = retriever.fill({"id": f"p{n}", "text": f"{n} and {n} is {2 * n}"} for n in range(9))
    rows = [row | {"evidence_ids": [f"p{n}"]} for n, row in enumerate(pairs(10))]
    job_id = create(client, upload(rows), store_id, "raft")
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model == f"ft:{BASE}:raft:{job_id}"
    kept = workshop.store.read_bytes(f"jobs/{job_id}/train.jsonl").splitlines()
    quoting = [b"##begin_quote##" in line for line in kept]
    assert 0 < sum(quoting) < 10
    told = [event.message for event in client.fine_tuning.jobs.list_events(job_id).data]
    assert any(message.startswith("1 of 10 prompts lack their answer") for message in told)


@pytest.mark.parametrize("recipe", ["rag", "raft"])
def test_a_recipe_needs_a_store_that_holds_its_gold(
    recipe: str,
    client: openai.OpenAI,
    upload: Upload,
    workshop: Workshop,
    retriever: Retriever,
) -> None:
    store_id = retriever.fill([{"id": "p", "text": "Something else."}])
    rows = [row | {"evidence_ids": ["gone"]} for row in pairs(10)]
    job_id = create(client, upload(rows), store_id, recipe)
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.error is not None
    assert job.error.code == "no_gold_passages"


def test_an_estimate_counts_the_passages_that_searches_return(
    client: openai.OpenAI,
    http: httpx.Client,
    upload: Upload,
    retriever: Retriever,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store_id = retriever.fill({"id": f"p{n}", "text": "many words " * 20} for n in range(5))
    file_id = upload(pairs(20))

    def tokens(source: str, **asked: Any) -> int:
        method = {"type": "supervised", "supervised": {"hyperparameters": asked}}
        ask = {"model": BASE, "training_file": file_id, "method": method}
        told = http.post("/v1/fine_tuning/estimate", json=ask).json()
        assert told["tokens_from"] == source
        return int(told["tokens"])

    shown = {"recipe": "rag", "retrieval": {"vector_store_id": store_id, "max_num_results": 2}}
    whole = tokens("all", **shown)
    assert whole > tokens("all") + 20 * 2 * 40
    monkeypatch.setattr("services.trainer.estimation.SEARCHED", 5)
    assert tokens("searches", **shown) == pytest.approx(whole, rel=0.1)


def test_a_store_without_passages_fails_the_job(
    client: openai.OpenAI,
    upload: Upload,
    workshop: Workshop,
    retriever: Retriever,
) -> None:
    job_id = create(client, upload(pairs(10)), retriever.store())
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.error is not None
    assert job.error.code == "no_passages"


def test_a_store_that_does_not_exist_fails_the_job(
    client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    job_id = create(client, upload(pairs(10)), "vs_none")
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert "vs_none" in job.error.message


def test_a_job_waits_for_a_retriever_that_is_away(
    client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    away = {"retriever_url": f"http://127.0.0.1:{free_port()}"}
    job_id = create(client, upload(pairs(10)), "vs")
    fine_tune(replace(workshop, settings=workshop.settings.model_copy(update=away)), job_id)
    assert client.fine_tuning.jobs.retrieve(job_id).status == "validating_files"
    [event, *_] = client.fine_tuning.jobs.list_events(job_id).data
    assert event.level == "warn"
    assert "The job will be tried again in " in event.message
