"""Direct preference optimization: OpenAI's lines, and a job of them for real."""

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest

from services.common.contracts.trainer import Canary
from services.trainer.preparing.examples import BadLine, Preference, parse_line
from services.trainer.running.attempt import Workshop
from tests.services.trainer.conftest import BASE, fine_tune


def preference(number: int, **more: Any) -> dict[str, Any]:
    return {
        "input": {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"What is {number} and {number}?"},
            ],
            "tools": [],
            "parallel_tool_calls": True,
        },
        "preferred_output": [{"role": "assistant", "content": f"It is {2 * number}."}],
        "non_preferred_output": [{"role": "assistant", "content": "Who knows? " * 3}],
    } | more


def parse(row: dict[str, Any]) -> Any:
    return parse_line(1, json.dumps(row).encode(), "dpo")


def test_a_preference_is_a_conversation_with_an_answer_that_was_not_preferred() -> None:
    parsed = parse(preference(2))
    assert isinstance(parsed, Preference)
    assert [each["role"] for each in parsed.messages] == ["system", "user", "assistant"]
    assert parsed.messages[-1]["content"] == "It is 4."
    assert parsed.rejected == "Who knows? " * 3


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"question": "Q", "answer": "A"}, "no 'input' with 'messages'"),
        (preference(1, preferred_output=[]), "no 'preferred_output' of one message"),
        (preference(1, non_preferred_output="no"), "no 'non_preferred_output' of one message"),
        (
            preference(1, preferred_output=[{"role": "user", "content": "Yes."}]),
            "does not end with a message of the assistant",
        ),
        (
            preference(1, non_preferred_output=[{"role": "assistant", "content": "It is 2."}]),
            "prefers an answer to itself",
        ),
        (preference(1, input={"messages": []}), "does not alternate"),
    ],
)
def test_a_line_that_is_no_preference_says_why(row: dict[str, Any], complaint: str) -> None:
    with pytest.raises(BadLine, match=complaint):
        parse(row)


def test_a_job_learns_to_prefer(
    client: openai.OpenAI, upload: Callable[..., str], workshop: Workshop
) -> None:
    asked = {"n_epochs": 6, "learning_rate": 0.01, "beta": 0.2, "lora": {"r": 4}}
    job_id = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=upload([preference(n) for n in range(16)]),
        validation_file=upload([preference(n) for n in range(20, 30)]),
        seed=1,
        method={"type": "dpo", "dpo": {"hyperparameters": asked}},  # type: ignore[typeddict-item]
    ).id
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.status == "succeeded", job.error
    assert job.fine_tuned_model == f"ft:{BASE}:dpo:{job_id}"
    assert job.method
    assert job.method.type == "dpo"

    events = client.fine_tuning.jobs.list_events(job_id, limit=100)
    metrics = [event.data for event in events if event.type == "metrics"][::-1]
    trained = [step for step in metrics if "train_loss" in step]  # type: ignore[operator]
    assert trained[0]["train_loss"] == pytest.approx(0.6931, abs=1e-3)  # type: ignore[index]  # ln 2
    assert trained[-1]["train_loss"] < 0.5  # type: ignore[index]
    assert trained[-1]["train_rewards_margins"] > 0.2  # type: ignore[index]
    assert trained[-1]["train_rewards_accuracies"] == 1  # type: ignore[index]
    assert metrics[-1]["valid_rewards_accuracies"] == 1  # type: ignore[index]
    header = client.files.content(job.result_files[0]).text.splitlines()[0]
    assert "train_rewards_margins" in header

    folder = workshop.settings.work_dir / job_id
    canary = Canary.model_validate_json((folder / "adapter" / "canary.json").read_bytes())
    preferred = canary.sequences[0]
    assert sum(preferred.adapted) != pytest.approx(sum(preferred.base), abs=0.1)
