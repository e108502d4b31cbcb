"""Jobs whose training truly cannot allocate what it asks for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import openai
import pytest
from sqlalchemy import select

from services.trainer.models import Job
from services.trainer.running import launch
from services.trainer.running.attempt import Workshop
from services.trainer.training.config import Plan
from services.trainer.training.progress import Lines, StepMetrics
from tests.services.trainer.conftest import BASE, fine_tune, messages

MIB = 2**20
# 16 answers of 300 tokens over 49,152 words of float32: 900 MiB of logits, held three times.
ROWS = [{"question": f"Say {n}.", "answer": "one two three " * 100} for n in range(16)]
ENOUGH_FOR_HALF, TOO_LITTLE = 2200 * MIB, 300 * MIB


@pytest.fixture
def run_narrow(
    client: openai.OpenAI,
    upload: Callable[..., str],
    workshop: Workshop,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[int], str]:
    """Do a job of two steps whose process has so many bytes to train in; gives its id."""
    monkeypatch.setattr(launch, "MODULE", "tests.services.trainer.training.narrow")
    settings = workshop.settings.model_copy(update={"micro_batch_tokens": 16 * 1024})

    def run(room: int) -> str:
        monkeypatch.setenv("NARROW_BYTES", str(room))
        asked: dict[str, Any] = {"n_epochs": 2, "batch_size": 16, "learning_rate": 0.01}
        job = client.fine_tuning.jobs.create(
            model=BASE,
            training_file=upload(ROWS),
            seed=1,
            method={"type": "supervised", "supervised": {"hyperparameters": asked}},  # type: ignore[typeddict-item]
        )
        fine_tune(replace(workshop, settings=settings), job.id)
        return job.id

    return run


def test_a_job_out_of_memory_goes_on_with_half_as_many_examples_at_once(
    client: openai.OpenAI, workshop: Workshop, run_narrow: Callable[[int], str]
) -> None:
    job_id = run_narrow(ENOUGH_FOR_HALF)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "succeeded", job.error
    assert (
        "The training ran out of memory with 16 examples at once, accumulated 1 times; it goes on "
        "with 8 at once, accumulated 2 times."
    ) in messages(client, job_id)
    folder = workshop.settings.work_dir / job_id
    plan = Plan.model_validate_json((folder / "plan.json").read_bytes())
    assert (plan.micro_batch, plan.gradient_accumulation_steps, plan.steps) == (8, 2, 2)
    steps = list(Lines(folder / "metrics.jsonl").read())
    assert [line.step for line in steps if isinstance(line, StepMetrics)] == [1, 2]


def test_a_job_out_of_memory_twice_fails_and_says_what_to_try(
    client: openai.OpenAI, workshop: Workshop, run_narrow: Callable[[int], str]
) -> None:
    job_id = run_narrow(TOO_LITTLE)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "failed"
    assert job.error is not None
    assert job.error.code == "out_of_memory"
    assert "try a smaller batch_size or max_length" in job.error.message
    assert sum("with 8 at once" in message for message in messages(client, job_id)) == 1
    with workshop.db.transaction() as session:
        assert session.scalars(select(Job.micro_batch_halvings)).one() == 1


def test_halving_keeps_the_batch() -> None:
    plan = Plan(
        examples=60,
        steps_per_epoch=5,
        steps=5,
        micro_batch=6,
        gradient_accumulation_steps=2,
        processes=1,
        device="cpu",
        dtype="float32",
        base_model_revision="",
    )
    sizes = [plan, plan.halved(), plan.halved().halved(), plan.halved().halved().halved()]
    assert [each.micro_batch for each in sizes] == [6, 3, 1, 1]
    assert {each.batch_size for each in sizes} == {12}
