"""All of ``/v1/evals``, walked with the ``openai`` that this process imports.

    python walk.py URL MODEL

Says nothing but the client's version, when every answer was as that client reads it. Runs are
worked on by whoever works at URL.
"""

import sys
import time
from typing import Any

import openai

SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string"}},
    "required": ["word"],
}
SAID = "{{sample.output_text}}"
CRITERIA: list[dict[str, Any]] = [
    {
        "type": "string_check",
        "name": "echoes",
        "input": SAID,
        "reference": "{{item.word}}",
        "operation": "like",
    },
    {
        "type": "text_similarity",
        "name": "alike",
        "input": SAID,
        "reference": "{{item.word}}",
        "evaluation_metric": "fuzzy_match",
        "pass_threshold": 0.9,
    },
]
SOURCE: dict[str, Any] = {
    "type": "completions",
    "source": {"type": "file_content", "content": [{"item": {"word": w}} for w in ("ab", "cd")]},
    "input_messages": {
        "type": "template",
        "template": [{"role": "user", "content": "{{item.word}}"}],
    },
    "sampling_params": {"temperature": 0, "max_completion_tokens": 16},
}


def main(url: str, model: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    graders = [
        {
            "type": "label_model",
            "name": "tone",
            "model": model,
            "input": [{"role": "user", "content": f"Is this a word? {SAID}"}],
            "labels": ["yes", "no"],
            "passing_labels": ["yes"],
        },
        {
            "type": "score_model",
            "name": "quality",
            "model": model,
            "input": [{"role": "user", "content": f"Score this: {SAID}"}],
            "range": [0, 10],
            "pass_threshold": 5,
        },
    ]
    made: Any = client.evals.create(
        name="words",
        metadata={"of": "walk"},
        data_source_config={"type": "custom", "item_schema": SCHEMA, "include_sample_schema": True},
        testing_criteria=[*CRITERIA, *graders],  # type: ignore[list-item]
    )
    assert made.object == "eval"
    assert made.data_source_config.schema_["properties"]["item"] == SCHEMA
    assert [each.name for each in made.testing_criteria] == ["echoes", "alike", "tone", "quality"]
    assert client.evals.retrieve(made.id).id == made.id
    assert client.evals.update(made.id, name="renamed").name == "renamed"
    other = client.evals.create(
        data_source_config={"type": "logs", "metadata": {"a": "b"}},
        testing_criteria=CRITERIA[:1],  # type: ignore[arg-type]
    )
    ids = [each.id for each in client.evals.list(limit=1, order="asc", order_by="created_at")]
    assert ids[-2:] == [made.id, other.id]
    runs(client, made.id, model)
    for each in (made, other):
        gone = client.evals.delete(each.id)
        assert (gone.deleted, gone.eval_id) == (True, each.id)
    print(openai.__version__)


def runs(client: openai.OpenAI, eval_id: str, model: str) -> None:
    source: Any = SOURCE | {"model": model}
    run: Any = client.evals.runs.create(eval_id, name="first", data_source=source)
    assert (run.object, run.model) == ("eval.run", model)
    assert run.data_source.source.content[0].item == {"word": "ab"}
    run = ended(client, eval_id, run.id)
    assert run.status == "completed", run.error
    assert run.result_counts.total == 2
    assert [each.testing_criteria for each in run.per_testing_criteria_results] == [
        "echoes",
        "alike",
        "tone",
        "quality",
    ]
    assert run.per_model_usage[0].run_model_name == model
    assert run.report_url
    items: Any = list(client.evals.runs.output_items.list(run.id, eval_id=eval_id, limit=1))
    assert [each.datasource_item["word"] for each in items] == ["ab", "cd"]
    one: Any = client.evals.runs.output_items.retrieve(items[0].id, eval_id=eval_id, run_id=run.id)
    assert one.datasource_item_id == 0
    assert one.sample.input[0].role == "user"
    assert one.sample.output[0].role == "assistant"
    assert len(one.results) == 4
    failed = list(client.evals.runs.output_items.list(run.id, eval_id=eval_id, status="fail"))
    assert len(failed) == run.result_counts.failed
    stopped: Any = client.evals.runs.create(
        eval_id, data_source={"type": "jsonl", "source": SOURCE["source"]}
    )
    try:
        assert client.evals.runs.cancel(stopped.id, eval_id=eval_id).status == "canceled"
    except openai.ConflictError:  # it was quicker
        assert ended(client, eval_id, stopped.id).status == "completed"
    listed = client.evals.runs.list(eval_id, limit=1, order="desc")
    assert [each.id for each in listed] == [stopped.id, run.id]
    assert client.evals.runs.delete(stopped.id, eval_id=eval_id).deleted


def ended(client: openai.OpenAI, eval_id: str, run_id: str) -> Any:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        run: Any = client.evals.runs.retrieve(run_id, eval_id=eval_id)
        if run.status not in ("queued", "in_progress"):
            return run
        time.sleep(0.1)
    raise AssertionError(f"run {run_id} does not end")


if __name__ == "__main__":
    main(*sys.argv[1:])
