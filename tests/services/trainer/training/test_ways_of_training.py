"""Hyperparameters that change how a model is trained, on the tiny model and for real."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from services.common.contracts.hyperparameters import SupervisedHyperparameters
from services.common.contracts.trainer import Canary
from services.trainer.running.launch import tail
from services.trainer.training.canary import log_probs
from services.trainer.training.config import Result, RunFolder
from services.trainer.training.data import IGNORED, Tokenized
from services.trainer.training.sft import dataset, make_trainer
from tests.services.trainer.training.conftest import NewRun, rendered, steps, train
from tests.services.trainer.training.tuned import examples, tuned


def result(folder: RunFolder) -> Result:
    return Result.model_validate_json(folder.result.read_bytes())


@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_a_quantized_base_is_trained_on_and_the_adapter_proven_on_the_whole_one(
    new_run: NewRun, tiny_model: Path, quantization: str
) -> None:
    folder = new_run(quantization=quantization, n_epochs=4)
    assert train(folder) == 0, tail(folder.output)
    losses = [line.train_loss for line in steps(folder)]
    assert losses[-1] < losses[0]  # type: ignore[operator]
    whole = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    served = PeftModel.from_pretrained(whole, folder.adapter).eval()
    canary = Canary.model_validate_json((folder.adapter / "canary.json").read_bytes())
    for sequence in canary.sequences:
        assert sequence.adapted == pytest.approx(log_probs(served, sequence.token_ids), abs=1e-4)
        with served.disable_adapter():
            assert sequence.base == pytest.approx(log_probs(served, sequence.token_ids), abs=1e-4)


def test_dora_and_rank_stabilized_lora_are_what_peft_makes_of_them(new_run: NewRun) -> None:
    folder = new_run(n_epochs=1, lora={"r": 4, "use_dora": True, "use_rslora": True})
    assert train(folder) == 0, tail(folder.output)
    told = json.loads((folder.adapter / "adapter_config.json").read_text())
    assert (told["use_dora"], told["use_rslora"]) == (True, True)
    assert "vLLM cannot serve DoRA adapters" in folder.metrics.read_text()
    weights = (folder.adapter / "adapter_model.safetensors").read_bytes()
    assert b"lora_magnitude_vector" in weights


def test_a_run_stops_early_even_if_killed_then_and_its_adapter_is_the_best(new_run: NewRun) -> None:
    """Validation on other answers than those that are learnt: its loss soon rises."""
    folder = new_run(
        n_epochs=30, learning_rate=0.05, early_stopping={"early_stopping_patience": 2}, valid=4
    )
    others = [row | {"completion": " ".join(["zebra quartz"] * 9)} for row in rendered(4)]
    folder.valid.write_text("".join(json.dumps(row) + "\n" for row in others))
    folder.result.mkdir()  # so that it cannot be written: cut off there, a run stays stopped
    assert train(folder) != 0
    assert "IsADirectoryError" in tail(folder.output)
    trained = steps(folder)
    folder.result.rmdir()
    assert train(folder) == 0, tail(folder.output)
    assert steps(folder) == trained
    came = result(folder)
    plan = folder.read_plan()
    assert plan is not None
    assert came.last_step < plan.steps
    assert came.last_step == came.step + 2 * plan.steps_per_epoch
    losses = {kept.step: kept.metrics["valid_loss"] for kept in came.candidates}
    assert losses
    assert came.step not in losses
    assert came.metrics["valid_loss"] < min(losses.values())


def test_the_newest_of_the_steps_asked_for_are_candidates(new_run: NewRun) -> None:
    folder = new_run(
        n_epochs=4, batch_size=4, save_strategy="steps", save_steps=3, save_total_limit=2
    )
    assert train(folder) == 0, tail(folder.output)
    came = result(folder)
    assert (came.step, came.last_step) == (20, 20)
    assert [kept.step for kept in came.candidates] == [15, 18]
    told = {line.step: line.train_loss for line in steps(folder)}
    assert [kept.metrics["train_loss"] for kept in came.candidates] == [told[15], told[18]]
    assert sorted(path.name for path in folder.candidates.iterdir()) == ["step-15", "step-18"]


def test_packed_examples_do_not_see_each_other(tiny_model: Path, tmp_path: Path) -> None:
    """One packed row gives the loss and the gradients of its examples one by one."""
    rows = examples(1000)
    alone = [Tokenized(row["input_ids"], row["labels"].count(-100)) for row in rows]
    asked = SupervisedHyperparameters(packing=True, max_length=80)
    packed, lengths = dataset(alone, asked)
    assert (len(packed), lengths) == (1, [sum(each.length for each in alone)])

    found: dict[bool, Any] = {}
    for packs in (True, False):
        model = tuned(tiny_model)
        trainer = make_trainer(
            model,
            tokenizer=AutoTokenizer.from_pretrained(tiny_model),
            asked=asked.model_copy(update={"packing": packs}),
            train=packed if packs else Dataset.from_list(rows),
            valid=None,
            arguments={"output_dir": str(tmp_path), "use_cpu": True, "bf16": False},
            callbacks=[],
        )
        features = [dict(row) for row in trainer.train_dataset]
        inputs = trainer.data_collator(features)
        loss = trainer.compute_loss(model, inputs)
        loss.backward()
        found[packs] = (loss.item(), model)
    assert found[True][0] == pytest.approx(found[False][0], abs=1e-5)
    for (_, one), (_, other) in zip(
        found[True][1].named_parameters(), found[False][1].named_parameters(), strict=True
    ):
        if one.requires_grad:
            torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_the_validation_loss_is_a_mean_over_answer_tokens(tiny_model: Path, tmp_path: Path) -> None:
    """Whatever the micro-batch: of answers of 7, 8, 1 and 18 tokens, one by one or all at once."""
    rows = examples(1000)
    model = tuned(tiny_model)
    model.eval()
    counts = [sum(label != IGNORED for label in row["labels"]) for row in rows]
    with torch.no_grad():
        alone = [
            model(**{name: torch.tensor([ids]) for name, ids in row.items()}).loss.item()
            for row in rows
        ]
    expected = sum(n * loss for n, loss in zip(counts, alone, strict=True)) / sum(counts)
    assert expected != pytest.approx(sum(alone) / len(alone), abs=1e-3)
    for size in (1, 3, 4):
        trainer = make_trainer(
            model,
            tokenizer=AutoTokenizer.from_pretrained(tiny_model),
            asked=SupervisedHyperparameters(),
            train=Dataset.from_list(rows),
            valid=Dataset.from_list(rows),
            arguments={
                "output_dir": str(tmp_path),
                "use_cpu": True,
                "bf16": False,
                "report_to": "none",
                "per_device_eval_batch_size": size,
                "prediction_loss_only": True,
            },
            callbacks=[],
        )
        assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-5)


def test_a_run_may_pack(new_run: NewRun) -> None:
    folder = new_run(packing=True, max_length=256, n_epochs=3, examples=40)
    assert train(folder) == 0, tail(folder.output)
    plan = folder.read_plan()
    assert plan is not None
    assert plan.examples < 20  # rows
    losses = [line.train_loss for line in steps(folder)]
    assert losses[-1] < losses[0]  # type: ignore[operator]
