"""The shorter way to the loss, held against the model's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GraniteConfig, GraniteForCausalLM
from trl import SFTConfig, SFTTrainer

from services.trainer.training.data import IGNORED
from services.trainer.training.loss import AnswerTrainer, head_is_plain, project_answers_only

LENGTHS = ((12, 5), (30, 22), (7, 6), (19, 1))
"""Tokens of each example, and where its answer starts."""


def examples(vocabulary: int) -> list[dict[str, list[int]]]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for length, start in LENGTHS:
        ids = torch.randint(3, vocabulary, (length,), generator=generator).tolist()
        made.append({"input_ids": ids, "labels": [IGNORED] * start + ids[start:]})
    return made


def batch(rows: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    longest = max(len(row["input_ids"]) for row in rows)

    def padded(name: str, pad: int) -> torch.Tensor:
        return torch.tensor([row[name] + [pad] * (longest - len(row[name])) for row in rows])

    ids = padded("input_ids", 2)
    mask = torch.tensor(
        [[1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in rows]
    )
    return {"input_ids": ids, "attention_mask": mask, "labels": padded("labels", IGNORED)}


def tuned(folder: Path) -> Any:
    """The tiny model with a LoRA whose B is not zero, so that every weight has a gradient."""
    torch.manual_seed(5)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    return model


def gradients(model: Any) -> dict[str, torch.Tensor]:
    found = {name: w.grad.clone() for name, w in model.named_parameters() if w.grad is not None}
    model.zero_grad()
    return found


def test_projecting_answers_only_gives_the_model_s_own_loss_and_gradients(
    tiny_model: Path,
) -> None:
    model = tuned(tiny_model)
    inputs = batch(examples(model.config.vocab_size))
    loss = model(**inputs).loss
    loss.backward()
    expected = gradients(model)

    assert head_is_plain(model.get_base_model())
    project_answers_only(model.get_base_model())
    outputs = model(**inputs, answers_only=True)
    short = outputs["loss_sum"] / outputs["labelled"]
    short.backward()
    found = gradients(model)

    assert int(outputs["labelled"]) == sum(length - start for length, start in LENGTHS)
    assert short.item() == pytest.approx(loss.item(), abs=1e-5)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert gradient.abs().max() > 0
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-5)


def test_a_micro_batch_without_labels_adds_nothing(tiny_model: Path) -> None:
    model = tuned(tiny_model)
    project_answers_only(model.get_base_model())
    inputs = batch(examples(model.config.vocab_size))
    inputs["labels"] = torch.full_like(inputs["labels"], IGNORED)
    outputs = model(**inputs, answers_only=True)
    outputs["loss_sum"].backward()
    assert outputs["loss_sum"].item() == 0
    assert all(not gradient.any() for gradient in gradients(model).values())


def test_scaled_logits_are_noticed_by_trying() -> None:
    config = GraniteConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        logits_scaling=4.0,
    )
    assert not head_is_plain(GraniteForCausalLM(config).float())


@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_whole_run_takes_the_steps_that_trl_takes(
    tiny_model: Path, tmp_path: Path, accumulation: int
) -> None:
    """Same data, seed and batches: the same losses at every step, to five digits."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    losses = {}
    for kind in (SFTTrainer, AnswerTrainer):
        trainer = kind(
            model=tuned(tiny_model),
            args=SFTConfig(
                output_dir=str(tmp_path / kind.__name__),
                use_cpu=True,
                bf16=False,
                per_device_train_batch_size=4 // accumulation,
                gradient_accumulation_steps=accumulation,
                num_train_epochs=4,
                learning_rate=1e-2,
                max_length=None,
                dataset_kwargs={"skip_prepare_dataset": True},
                gradient_checkpointing=False,
                logging_steps=1,
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                seed=11,
            ),
            train_dataset=Dataset.from_list(examples(len(tokenizer))),
            processing_class=tokenizer,
        )
        trainer.train()
        losses[kind] = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses[AnswerTrainer]) == 4
    assert losses[AnswerTrainer] == pytest.approx(losses[SFTTrainer], abs=1e-4)
    assert losses[AnswerTrainer][0] != pytest.approx(losses[AnswerTrainer][-1], abs=0.05)
