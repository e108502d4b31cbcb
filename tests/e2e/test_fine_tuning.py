"""Jobs at the front door, with the stock client: watched, paused, killed, and none the worse."""

import json
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from tests.e2e.conftest import RunningStack

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]

BASE = "smollm2-135m-instruct"
STEPS = 9
HYPERPARAMETERS = {"n_epochs": 3, "batch_size": 4, "learning_rate": 2e-4, "lora": {"r": 8}}


def wait_for(condition: Callable[[], Any], seconds: float = 500) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def training_file(client: openai.OpenAI, handbook: Path) -> str:
    """Sent in two parts, as a large file is."""
    with (handbook / "train.jsonl").open() as source:
        content = "".join(islice(source, 12)).encode()
    upload = client.uploads.create(
        filename="train.jsonl",
        purpose="fine-tune",
        bytes=len(content),
        mime_type="application/jsonl",
    )
    half = len(content) // 2
    parts = [
        client.uploads.parts.create(upload.id, data=piece).id
        for piece in (content[:half], content[half:])
    ]
    done = client.uploads.complete(upload.id, part_ids=parts)
    assert done.file is not None
    assert client.files.content(done.file.id).content == content
    return done.file.id


def create(client: openai.OpenAI, file_id: str, suffix: str, **headers: str) -> str:
    return client.fine_tuning.jobs.create(
        model=BASE,
        training_file=file_id,
        suffix=suffix,
        seed=7,
        method={"type": "supervised", "supervised": {"hyperparameters": HYPERPARAMETERS}},  # type: ignore[typeddict-item]
        extra_headers=headers,
    ).id


def finished(client: openai.OpenAI, job_id: str) -> Any:
    ends = ("succeeded", "failed", "cancelled")
    return wait_for(
        lambda: (job := client.fine_tuning.jobs.retrieve(job_id)).status in ends and job
    )


def step_of(client: openai.OpenAI, job_id: str) -> int:
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status not in ("succeeded", "failed"), job
    return int(job.model_extra["progress"]["step"])  # type: ignore[index]


def losses(client: openai.OpenAI, job_id: str) -> dict[int, float]:
    events = client.fine_tuning.jobs.list_events(job_id, limit=1000)
    told = [e.data for e in events if e.type == "metrics" and "train_loss" in e.data]  # type: ignore[operator]
    steps = [data["step"] for data in told]  # type: ignore[index]
    assert len(steps) == len(set(steps)), "a step was told twice"
    return {data["step"]: data["train_loss"] for data in told}  # type: ignore[index]


def stream(url: str, job_id: str, last_event_id: str | None = None) -> Iterator[tuple[str, str]]:
    """``(id, data)`` of the server-sent events of a job."""
    headers = {"Accept": "text/event-stream"}
    if last_event_id is not None:
        headers["Last-Event-ID"] = last_event_id
    path = f"{url}/v1/fine_tuning/jobs/{job_id}/events"
    with httpx.stream("GET", path, params={"stream": "true"}, headers=headers, timeout=600) as r:
        assert r.status_code == 200
        number = ""
        for line in r.iter_lines():
            if line.startswith("id:"):
                number = line[3:].strip()
            elif line.startswith("data:"):
                yield number, line[5:].strip()


@pytest.fixture(scope="module")
def undisturbed(client: openai.OpenAI, stack: RunningStack, training_file: str) -> Any:
    """A job that nobody touches, made twice with one key, and watched with a break."""
    key = {"Idempotency-Key": "walk-1"}
    job_id = create(client, training_file, "calm", **key)
    assert create(client, training_file, "calm", **key) == job_id
    seen = list(islice(stream(stack.url, job_id), 3))
    seen += stream(stack.url, job_id, last_event_id=seen[-1][0])
    assert seen[-1][1] == "[DONE]"
    told = [json.loads(data) for _, data in seen[:-1]]
    listed = client.fine_tuning.jobs.list_events(job_id, limit=1000)
    assert [event["id"] for event in told] == [event.id for event in listed][::-1]
    return finished(client, job_id)


def test_a_job_leaves_checkpoints_and_a_result_file(
    client: openai.OpenAI, undisturbed: Any
) -> None:
    assert undisturbed.status == "succeeded", undisturbed.error
    checkpoints = client.fine_tuning.jobs.checkpoints.list(undisturbed.id).data
    assert sorted(checkpoint.step_number for checkpoint in checkpoints) == [3, 6, STEPS]
    rows = client.files.content(undisturbed.result_files[0]).text.splitlines()
    assert rows[0].startswith("step,")
    assert len(rows) == 1 + STEPS


def test_the_tuned_model_and_its_candidates_answer_by_name(
    client: openai.OpenAI, undisturbed: Any
) -> None:
    for checkpoint in client.fine_tuning.jobs.checkpoints.list(undisturbed.id):
        name = checkpoint.fine_tuned_model_checkpoint
        answer = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "Who are you?"}], max_tokens=4
        )
        assert answer.model == name


def test_a_job_can_be_cancelled(
    client: openai.OpenAI, stack: RunningStack, training_file: str
) -> None:
    job_id = create(client, training_file, "cancelled")
    wait_for(lambda: step_of(client, job_id) >= 1)
    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"
    wait_for(lambda: not training_processes(stack, job_id))
    assert client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model is None


def test_a_job_that_is_paused_and_killed_twice_ends_as_if_nothing_had_happened(
    client: openai.OpenAI, stack: RunningStack, training_file: str, undisturbed: Any
) -> None:
    job_id = create(client, training_file, "disturbed")
    wait_for(lambda: step_of(client, job_id) >= 1)
    assert client.fine_tuning.jobs.pause(job_id).status == "paused"
    wait_for(lambda: not training_processes(stack, job_id))
    assert client.fine_tuning.jobs.retrieve(job_id).status == "paused"
    assert client.fine_tuning.jobs.resume(job_id).status == "queued"
    wait_for(lambda: step_of(client, job_id) >= 4)
    for process in training_processes(stack, job_id):
        process.kill()
    wait_for(lambda: step_of(client, job_id) >= 6)
    status = json.loads(stack.fineproof("status", "--json").stdout)
    [worker] = [p["pid"] for p in status["processes"] if p["name"] == "trainer-worker"]
    psutil.Process(worker).kill()
    job = finished(client, job_id)
    assert job.status == "succeeded", job.error
    calm = losses(client, undisturbed.id)
    assert losses(client, job_id) == pytest.approx(calm, abs=1e-6)
    assert job.model_extra["progress"]["step"] == STEPS == max(calm)


def training_processes(stack: RunningStack, job_id: str) -> list[psutil.Process]:
    return [p for p in stack.processes() if job_id in " ".join(command_of(p))]


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []
