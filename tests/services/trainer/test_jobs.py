from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.services.trainer.conftest import BASE, pairs

Upload = Callable[..., str]


def test_a_job_waits_for_a_worker_with_what_was_asked(
    client: openai.OpenAI, upload: Upload
) -> None:
    file_id = upload(pairs(10))
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file_id,
        suffix="mine",
        seed=7,
        metadata={"team": "a"},
        method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3}}},
        integrations=[{"type": "wandb", "wandb": {"project": "p", "tags": ["t"]}}],
        extra_body={"priority": 3, "checks": {"drop": ["duplicates"]}},
    )
    assert job.status == "validating_files"
    assert job.integrations is not None
    assert job.integrations[0].wandb.project == "p"
    assert job.model_extra is not None
    assert job.model_extra["priority"] == 3
    assert job.model_extra["checks"]["drop"] == ["duplicates"]
    assert job.seed == 7
    assert job.hyperparameters.n_epochs == 3
    assert job.hyperparameters.batch_size == "auto"
    assert job.finished_at is None
    assert job.fine_tuned_model is None
    assert client.fine_tuning.jobs.retrieve(job.id) == job


def test_jobs_are_found_by_their_metadata(client: openai.OpenAI, upload: Upload) -> None:
    file_id = upload(pairs(10))

    def create(metadata: dict[str, str] | None) -> str:
        return client.fine_tuning.jobs.create(
            model=BASE, training_file=file_id, metadata=metadata
        ).id

    a, ab, bare = create({"x": "a"}), create({"x": "a", "y": "b"}), create(None)
    listed = client.fine_tuning.jobs.list
    assert [job.id for job in listed(limit=1)] == [bare, ab, a]
    assert [job.id for job in listed(metadata={"x": "a"})] == [ab, a]
    assert [job.id for job in listed(metadata={"x": "a", "y": "b"})] == [ab]
    assert [job.id for job in listed(extra_query={"metadata": "null"})] == [bare]


def test_events_come_newest_first_and_page_without_a_gap(
    client: openai.OpenAI, upload: Upload
) -> None:
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(pairs(10)))
    client.fine_tuning.jobs.cancel(job.id)
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=1))
    assert [event.message for event in events] == [
        "The job was cancelled.",
        f"Created fine-tuning job: {job.id}",
    ]
    oldest = client.fine_tuning.jobs.list_events(job.id, limit=1, extra_query={"order": "asc"})
    assert [event.id for event in oldest] == [event.id for event in events[::-1]]


def test_a_job_is_cancelled_once(client: openai.OpenAI, upload: Upload) -> None:
    job = client.fine_tuning.jobs.create(model=BASE, training_file=upload(pairs(10)))
    cancelled = client.fine_tuning.jobs.cancel(job.id)
    assert cancelled.status == "cancelled"
    assert cancelled.finished_at is not None
    assert client.fine_tuning.jobs.cancel(job.id) == cancelled
    assert len(client.fine_tuning.jobs.list_events(job.id).data) == 2


def test_the_deprecated_hyperparameters_still_count(client: openai.OpenAI, upload: Upload) -> None:
    file_id = upload(pairs(10))
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file_id,
        hyperparameters={"n_epochs": 4},
        method={"type": "supervised", "supervised": {"hyperparameters": {"batch_size": 2}}},
    )
    assert (job.hyperparameters.n_epochs, job.hyperparameters.batch_size) == (4, 2)
    with pytest.raises(openai.BadRequestError) as refused:
        client.fine_tuning.jobs.create(
            model=BASE,
            training_file=file_id,
            hyperparameters={"n_epochs": 4},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}},
        )
    assert refused.value.param == "hyperparameters.n_epochs"


def refused(client: openai.OpenAI, **ask: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as error:
        client.fine_tuning.jobs.create(**ask)
    assert not client.fine_tuning.jobs.list().data
    return error.value


def test_an_unknown_model_is_refused_with_those_that_are_known(
    client: openai.OpenAI, upload: Upload
) -> None:
    error = refused(client, model="gpt-4o", training_file=upload(pairs(10)))
    assert (error.status_code, error.code, error.param) == (400, "model_not_found", "model")
    assert BASE in error.message


def test_an_unknown_file_is_refused(client: openai.OpenAI, upload: Upload) -> None:
    error = refused(client, model=BASE, training_file="file_none")
    assert (error.status_code, error.code, error.param) == (404, "file_not_found", "training_file")
    error = refused(
        client, model=BASE, training_file=upload(pairs(10)), validation_file="file_none"
    )
    assert (error.status_code, error.param) == (404, "validation_file")


def test_a_file_for_another_purpose_is_refused(client: openai.OpenAI, upload: Upload) -> None:
    error = refused(client, model=BASE, training_file=upload(pairs(10), "evals"))
    assert (error.status_code, error.code) == (400, "invalid_file_purpose")


@pytest.mark.parametrize(
    ("hyperparameters", "param"),
    [
        ({"recipe": "rag"}, "method.supervised.hyperparameters.retrieval.vector_store_id"),
        (
            {"recipe": "rag", "retrieval": {"vector_store_id": "vs"}},
            "method.supervised.hyperparameters.recipe",  # no retriever is configured here
        ),
    ],
)
def test_recipe_rag_needs_somewhere_to_look(
    client: openai.OpenAI, upload: Upload, hyperparameters: dict[str, Any], param: str
) -> None:
    method = {"type": "supervised", "supervised": {"hyperparameters": hyperparameters}}
    error = refused(client, model=BASE, training_file=upload(pairs(10)), method=method)
    assert (error.status_code, error.param) == (400, param)


def test_more_jobs_than_may_wait_are_refused(client: openai.OpenAI, upload: Upload) -> None:
    file_id = upload(pairs(10))
    for _ in range(5):
        client.fine_tuning.jobs.create(model=BASE, training_file=file_id)
    with pytest.raises(openai.RateLimitError):
        client.fine_tuning.jobs.create(model=BASE, training_file=file_id)
