"""The trainer's whole surface, walked with the ``openai`` that this process imports.

    python walk.py URL MODEL FINISHED_JOB

Says nothing but the client's version, when every answer was as that client's types want it.
"""

import hashlib
import json
import sys

import openai
from openai.types.fine_tuning import FineTuningJobEvent

LINES = [json.dumps({"question": f"What is {n}?", "answer": f"It is {n}."}) for n in range(10)]
CONTENT = "\n".join(LINES).encode()


def main(url: str, model: str, finished: str) -> None:
    client = openai.OpenAI(
        base_url=f"{url}/v1", api_key="none", max_retries=0, _strict_response_validation=True
    )
    files(client)
    training_file = uploads(client)
    jobs(client, model, training_file)
    outcome(client, finished)
    print(openai.__version__)


def files(client: openai.OpenAI) -> None:
    sent = client.files.create(
        file=("a.jsonl", CONTENT),
        purpose="fine-tune",
        # The old client has no parameter for it.
        extra_body={"expires_after": {"anchor": "created_at", "seconds": 3600}},
    )
    other = client.files.create(file=("b.jsonl", CONTENT), purpose="user_data")
    assert sent.expires_at == sent.created_at + 3600
    assert client.files.retrieve(sent.id) == sent
    assert client.files.content(sent.id).content == CONTENT
    assert other.id in [file.id for file in client.files.list(limit=1)]
    assert client.files.list(purpose="user_data", limit=1).data == [other]
    for file in (sent, other):
        assert client.files.delete(file.id).deleted


def uploads(client: openai.OpenAI) -> str:
    left = client.uploads.create(
        bytes=1, filename="c.jsonl", mime_type="text/jsonl", purpose="fine-tune"
    )
    assert left.status == "pending"
    assert client.uploads.cancel(left.id).status == "cancelled"
    whole = client.uploads.upload_file_chunked(
        file=CONTENT,
        filename="d.jsonl",
        bytes=len(CONTENT),
        mime_type="text/jsonl",
        purpose="fine-tune",
        part_size=100,
        md5=hashlib.md5(CONTENT).hexdigest(),
    )
    assert whole.status == "completed"
    assert whole.file is not None
    assert client.files.content(whole.file.id).content == CONTENT
    return whole.file.id


def jobs(client: openai.OpenAI, model: str, training_file: str) -> None:
    def create() -> str:
        return client.fine_tuning.jobs.create(
            model=model,
            training_file=training_file,
            suffix="walk",
            metadata={"client": openai.__version__},
            method={"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1}}},
            extra_headers={"Idempotency-Key": f"walk {openai.__version__}"},
        ).id

    job_id = create()
    assert create() == job_id
    found = client.fine_tuning.jobs.list(metadata={"client": openai.__version__}, limit=1)
    assert [job.id for job in found] == [job_id]
    # OpenAI has the route, but its type no such status: a strict client would refuse it.
    easy = client.with_options(_extra_kwargs={"_strict_response_validation": False})
    assert easy.fine_tuning.jobs.pause(job_id).model_dump()["status"] == "paused"
    assert client.fine_tuning.jobs.resume(job_id).status == "validating_files"
    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"
    assert client.fine_tuning.jobs.retrieve(job_id).finished_at is not None

    listed = [event.message for event in client.fine_tuning.jobs.list_events(job_id, limit=1)]
    stream = client.get(
        f"/fine_tuning/jobs/{job_id}/events",
        options={"params": {"stream": "true"}},
        cast_to=FineTuningJobEvent,
        stream=True,
        stream_cls=openai.Stream[FineTuningJobEvent],
    )
    assert [event.message for event in stream] == listed[::-1]
    assert listed[::-1][1:] == [
        "The job was paused.",
        "The job was resumed.",
        "The job was cancelled.",
    ]


def outcome(client: openai.OpenAI, job_id: str) -> None:
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "succeeded"
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job_id, limit=1))
    assert job.fine_tuned_model in [each.fine_tuned_model_checkpoint for each in checkpoints]
    assert all(each.metrics.step for each in checkpoints)
    assert client.files.content(job.result_files[0]).text.startswith("step,")


if __name__ == "__main__":
    main(*sys.argv[1:])
