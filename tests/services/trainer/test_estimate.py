"""What a fine-tuning will take, against models and runs that say what it took."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from services.common.contracts.hyperparameters import LoraHyperparameters, SupervisedHyperparameters
from services.trainer import storage
from services.trainer.architecture import UnknownArchitecture, architecture
from services.trainer.estimate import Data, memory, optimizer_steps, seconds_by_flops, why_not
from services.trainer.models import Device, Job
from services.trainer.running.attempt import Workshop
from tests.services.trainer.conftest import BASE, fine_tune, pairs

Upload = Callable[..., str]

ASKED = SupervisedHyperparameters(n_epochs=2, batch_size=8)
DATA = Data(examples=20, tokens=1_000, answer_tokens=200, longest=60)
AGREES = 1.5
"""Factor between estimated and measured peak memory that still tells whether a job fits."""


def test_parameters_are_those_that_transformers_and_peft_count(tiny_model: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    found = architecture(str(tiny_model))
    assert found.parameters == model.num_parameters()
    for lora in (
        LoraHyperparameters(r=4),
        LoraHyperparameters(r=8, target_modules=["q_proj", "v_proj"]),
        LoraHyperparameters(r=4, use_dora=True),
    ):
        config = LoraConfig(task_type="CAUSAL_LM", **lora.model_dump())
        adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config)
        assert found.lora_parameters(lora) == adapted.get_nb_trainable_parameters()[0]


def test_a_model_that_does_not_say_how_large_it_is_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UnknownArchitecture):
        architecture(str(tmp_path))


def test_steps_count_batches_of_every_epoch_and_rows_that_are_packed() -> None:
    assert optimizer_steps(ASKED, DATA) == 6
    packed = ASKED.model_copy(update={"packing": True, "max_length": 100, "batch_size": 4})
    assert optimizer_steps(packed, DATA) == 6


def test_memory_follows_the_model_the_batch_and_the_quantization(base_model: Path) -> None:
    model = architecture(str(base_model))
    assert 134e6 < model.parameters < 135e6
    on_cpu = memory(model, ASKED, DATA, "cpu", None)
    assert on_cpu.micro_batch == 8
    assert on_cpu.weights == on_cpu.served == 4 * model.parameters
    long = Data(examples=20, tokens=14_000, answer_tokens=2_800, longest=700)
    longer = memory(model, ASKED, long, "cpu", None)
    assert longer.micro_batch == 4
    assert longer.activations == pytest.approx(on_cpu.activations * 2_800 / 480, rel=0.01)
    assert longer.weights == on_cpu.weights + 2 * model.linear_parameters  # merged
    assert memory(model, ASKED, long, "cpu", None, halvings=1).micro_batch == 2
    on_gpu = memory(model, ASKED, DATA, "cuda", None)
    assert on_gpu.weights == 2 * model.parameters
    quantized = ASKED.model_copy(update={"quantization": "4bit"})
    assert memory(model, quantized, DATA, "cuda", None).weights < on_gpu.weights / 2


def test_time_by_flops_agrees_with_what_was_measured(base_model: Path) -> None:
    """247 tokens/s of prompts of 266 tokens on two cores whose matrix product does 190 GFLOP/s."""
    data = Data(examples=10, tokens=2_660, answer_tokens=200, longest=266)
    once = ASKED.model_copy(update={"n_epochs": 1})
    seconds = seconds_by_flops(architecture(str(base_model)), once, data, 190e9)
    assert 2 / 3 < seconds / (2_660 / 247) < 3 / 2


def test_what_does_not_fit_says_what_to_change(base_model: Path) -> None:
    model = architecture(str(base_model))
    needed = memory(model, ASKED, DATA, "cpu", None)
    assert why_not(needed, needed.total) is None
    assert why_not(needed, 0) is None, "nobody said how much the device has"
    told = [why_not(needed, size) or "" for size in (2**30, 1_350_000_000, needed.total - 1)]
    assert "choose a smaller one" in told[0]
    assert "'lora.r'" in told[1]
    assert "'max_length'" in told[2]


# Over HTTP


def body(file_id: str, **asked: Any) -> dict[str, Any]:
    method = {"type": "supervised", "supervised": {"hyperparameters": asked}}
    return {"model": BASE, "training_file": file_id, "method": method}


def estimate(http: httpx.Client, file_id: str, **asked: Any) -> httpx.Response:
    return http.post("/v1/fine_tuning/estimate", json=body(file_id, **asked))


def note_device(workshop: Workshop, memory_bytes: int, flops: float | None = 1e11) -> None:
    with workshop.db.transaction() as session:
        session.merge(
            Device(
                id="host:0",
                seen_at=storage.now(),
                kind="cpu",
                name="two cores",
                memory_bytes=memory_bytes,
                flops=flops,
            )
        )


def test_without_a_device_tokens_and_steps_are_told_and_the_rest_is_not_guessed(
    http: httpx.Client, upload: Upload
) -> None:
    told = estimate(http, upload(pairs(20))).json()
    assert (told["examples"], told["steps"], told["n_epochs"]) == (20, 6, 2)
    assert told["tokens_from"] == "all"
    assert told["longest"] <= told["tokens"] / 20 + 3
    assert (told["seconds"], told["basis"], told["memory_bytes"], told["fits"]) == (None,) * 4
    assert told["reason"] == "No worker has said yet what it trains on."


def test_time_comes_from_the_device_until_a_job_has_shown_the_pace(
    http: httpx.Client, upload: Upload, workshop: Workshop
) -> None:
    file_id = upload(pairs(20))
    note_device(workshop, 8 * 2**30)
    by_device = estimate(http, file_id).json()
    assert (by_device["basis"], by_device["fits"], by_device["reason"]) == ("device", True, None)
    job_id = http.post("/v1/fine_tuning/jobs", json=body(file_id)).json()["id"]
    with workshop.db.transaction() as session:
        job = session.get_one(Job, job_id)
        job.trained_tokens, job.training_seconds = 3_000, 60.0
    by_jobs = estimate(http, file_id).json()
    assert by_jobs["basis"] == "earlier_jobs"
    assert by_jobs["seconds"] == pytest.approx(2 * by_jobs["tokens"] / 50, abs=0.1)


def test_a_large_file_is_sampled(
    http: httpx.Client, upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    file_id = upload(pairs(60))
    whole = estimate(http, file_id).json()
    monkeypatch.setattr("services.trainer.estimation.SAMPLE", 20)
    part = estimate(http, file_id).json()
    assert (part["tokens_from"], part["examples"]) == ("sample", 60)
    assert part["tokens"] == pytest.approx(whole["tokens"], rel=0.05)


def test_what_cannot_fit_is_refused_by_estimate_and_by_job(
    http: httpx.Client, client: openai.OpenAI, upload: Upload, workshop: Workshop
) -> None:
    file_id = upload(pairs(20))
    note_device(workshop, 2**29)
    refused = estimate(http, file_id)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "does_not_fit")
    assert "the device has 0.5 GiB" in refused.json()["error"]["message"]
    job_id = http.post("/v1/fine_tuning/jobs", json=body(file_id)).json()["id"]
    fine_tune(workshop, job_id)
    job = client.fine_tuning.jobs.retrieve(job_id)
    assert job.error is not None
    assert (job.status, job.error.code) == ("failed", "does_not_fit")


def test_preferences_are_counted_with_both_answers(http: httpx.Client, upload: Upload) -> None:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    rows = [
        {
            "input": {"messages": [{"role": "user", "content": f"What is {n} and {n}?"}]},
            "preferred_output": said("It is known."),
            "non_preferred_output": said("No."),
        }
        for n in range(10)
    ]
    ask = {"model": BASE, "training_file": upload(rows), "method": {"type": "dpo"}}
    answer = http.post("/v1/fine_tuning/estimate", json=ask)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["tokens"] == 2 * 10 * told["longest"]


@pytest.mark.parametrize(
    ("rows", "asked", "said"),
    [
        ([{"question": "Q"}], {}, "line 1 has no 'answer'"),
        (pairs(10), {"max_length": 16}, "longer than max_length, 16 tokens"),
    ],
)
def test_an_estimate_refuses_what_a_job_would(
    http: httpx.Client, upload: Upload, rows: Any, asked: dict[str, Any], said: str
) -> None:
    refused = estimate(http, upload(rows), **asked)
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "invalid_training_file")
    assert said in error["message"]


def test_memory_is_near_what_a_run_really_took(
    http: httpx.Client, upload: Upload, workshop: Workshop
) -> None:
    note_device(workshop, 64 * 2**30)
    rows = [row | {"answer": "word " * 700} for row in pairs(10)]
    file_id = upload(rows)
    asked = {"n_epochs": 1, "batch_size": 2}
    told = estimate(http, file_id, **asked).json()
    assert told["memory"]["logits"] > told["memory"]["runtime"] > told["memory"]["weights"]
    job_id = http.post("/v1/fine_tuning/jobs", json=body(file_id, **asked)).json()["id"]
    fine_tune(workshop, job_id)
    with workshop.db.transaction() as session:
        job = session.get_one(Job, job_id)
        assert job.status == "succeeded", job.error
        assert job.peak_memory_bytes is not None
        assert 1 / AGREES < told["memory_bytes"] / job.peak_memory_bytes < AGREES
